// native.recover: instances whose rows were lost.
#include "durable/recover.h"

#include "native/module.h"
#include "native/services.h"

namespace choline {

namespace {

Co<Result<Json>> recover_list(Services& services, Json) {
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  Co<Result<Json>> looking = find_tagged((*instances)->world());
  Result<Json> found = co_await looking;
  co_return found;
}

Co<Result<Json>> recover_adopt(Services& services, Json args) {
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  Result<std::string> provider = string_arg(args, 0, "native.recover.adopt");
  if (!provider) co_return provider.error();
  Result<std::string> tag = string_arg(args, 1, "native.recover.adopt");
  if (!tag) co_return tag.error();
  Result<std::string> name = string_arg(args, 2, "native.recover.adopt");
  if (!name) co_return name.error();
  Co<Result<Json>> adopting = adopt_instance(**instances, *provider, *tag, *name);
  Result<Json> told = co_await adopting;
  co_return told;
}

}  // namespace

NativeModule recover_module() {
  return {"recover", {{"list", recover_list}, {"adopt", recover_adopt}}};
}

}  // namespace choline
