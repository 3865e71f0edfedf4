#include "native/services.h"

#include <unistd.h>

#include <map>

#include "durable/instances.h"
#include "durable/owned_run.h"
#include "durable/rehearsal.h"
#include "io/secret_source.h"
#include "io/ssh_keys.h"
#include "native/forward.h"
#include "native/signals.h"
#include "provider/providers.h"
#include "store/store.h"

namespace choline {

Services::Services(Loop& the_loop, Folders the_folders)
    : loop(the_loop), folders(std::move(the_folders)) {}

Services::~Services() = default;

Result<Store*> Services::store() {
  if (!store_) {
    Result<std::unique_ptr<Store>> opened = Store::open(loop, folders.state);
    if (!opened) return opened.error();
    store_ = std::move(*opened);
  }
  return store_.get();
}

Result<Providers*> Services::providers() {
  if (providers_) return providers_.get();
  ProviderWorld world;
  world.state = folders.state;
  world.config = folders.config;
  world.program = folders.executable;
  auto secrets = std::make_shared<SecretSource>(folders.config);  // shared by copies of the world
  world.secret = [secrets](const std::string& name) { return secrets->resolve(name); };
  world.public_key = [config = folders.config]() -> Result<std::string> {
    Result<OwnSshKey> own = own_ssh_key(config);
    if (!own) return own.error();
    return own->line;
  };
  providers_ = std::make_unique<Providers>(loop, world);
  return providers_.get();
}

Result<Instances*> Services::instances() {
  if (instances_) return instances_.get();
  Result<Store*> the_store = store();
  if (!the_store) return the_store.error();
  Result<Providers*> the_providers = providers();
  if (!the_providers) return the_providers.error();
  InstancesOptions options;
  options.state = folders.state;
  options.config = folders.config;
  // The agent for this architecture has the plain name; others carry theirs.
#ifdef __aarch64__
  options.agents["aarch64"] = folders.agent;
#else
  options.agents["x86_64"] = folders.agent;
  std::string arm = folders.agent + "-aarch64";
  if (access(arm.c_str(), X_OK) == 0) options.agents["aarch64"] = arm;
#endif
  instances_ = std::make_unique<Instances>(loop, **the_store, **the_providers, std::move(options));
  return instances_.get();
}

Signals& Services::signals() {
  if (!signals_) signals_ = std::make_unique<Signals>(loop);
  return *signals_;
}

std::string Services::install() {
  Result<Store*> opened = store();
  return opened ? (*opened)->install() : std::string();
}

}  // namespace choline
