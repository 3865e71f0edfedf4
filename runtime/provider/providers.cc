#include "provider/providers.h"

#include <cstdlib>

#include "base/text.h"
#include "io/files.h"
#include "provider/local.h"
#include "provider/ssh.h"
#include "provider/vast.h"

namespace choline {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// Where the official command keeps its key.
Result<std::string> vast_key(const ProviderWorld& world) {
  Result<std::string> key = world.secret("VAST_API_KEY");
  if (key) return key;
  const std::string home = variable("HOME");
  std::string config = variable("XDG_CONFIG_HOME");
  if (config.empty()) config = home + "/.config";
  for (const std::string& path : {config + "/vastai/vast_api_key", home + "/.vast_api_key"}) {
    Result<std::string> read = read_file(path, 4096);
    std::string found = read ? std::string(trim(*read)) : std::string();
    if (!found.empty()) return found;
  }
  return key;
}

VastWorld vast_world(const ProviderWorld& world) {
  VastWorld vast;
  if (std::string url = variable("VAST_URL"); !url.empty()) vast.url = url;
  while (vast.url.ends_with('/')) vast.url.pop_back();
  vast.folder = world.state + "/pace";
  if (std::string pace = variable("CHOLINE_PACE"); !pace.empty())
    vast.pace = std::atof(pace.c_str());
  vast.api_key = [world] { return vast_key(world); };
  vast.public_key = world.public_key;
  return vast;
}

}  // namespace

Providers::Providers(Loop& loop, const std::string& state)
    : ssh_(loop, SshOptions{state + "/ssh", "", ""}) {
  add_those_without_account(loop, state);
}

Providers::Providers(Loop& loop, const ProviderWorld& world)
    : ssh_(loop, SshOptions{world.state + "/ssh", world.config, world.program}) {
  add_those_without_account(loop, world.state);
  add(std::make_unique<VastProvider>(loop, vast_world(world)));
}

void Providers::add_those_without_account(Loop& loop, const std::string& state) {
  add(std::make_unique<LocalProvider>(loop, state + "/local"));
  add(std::make_unique<SshProvider>(loop, ssh_, state + "/ssh"));
}

std::vector<std::string> Providers::names() const {
  std::vector<std::string> names;
  for (const auto& [name, provider] : providers_) names.push_back(name);
  return names;
}

Result<Provider*> Providers::find(const std::string& name) {
  auto found = providers_.find(name);
  if (found != providers_.end()) return found->second.get();
  std::string message = "no provider " + choline::quoted(name);
  if (std::optional<std::string> near = nearest(name, names())) {
    message += "; did you mean " + choline::quoted(*near) + "?";
  } else {
    message += "; there are: " + join(names(), ", ");
  }
  return Error(ErrorKind::not_found, std::move(message));
}

void Providers::add(std::unique_ptr<Provider> provider) {
  std::string name = provider->caps().name;
  providers_[std::move(name)] = std::move(provider);
}

}  // namespace choline
