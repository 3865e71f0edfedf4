#include "provider/providers.h"

#include "base/text.h"
#include "provider/local.h"
#include "provider/ssh.h"

namespace choline {

Providers::Providers(Loop& loop, const std::string& state, const std::string& config,
                     const std::string& program)
    : ssh_(loop, SshOptions{state + "/ssh", config, program}) {
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
