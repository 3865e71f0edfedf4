// What the local cloud writes down of an instance; for local_cloud.cc.
#pragma once

#include <string>

#include "base/json.h"
#include "provider/local_cloud.h"

namespace choline {

// What an instance does with itself when its lease or lifetime is over. A disk that is full has
// room when the home is gone; it is run again until it works.
inline constexpr const char* kEndScript = R"sh(
[ -d "$1" ] || exit 0
say() {
  printf '{"at":%s,"why":"%s"}\n' "$CHOLINE_ENDED" "$CHOLINE_END" >"$1/ended.new" &&
    mv -f "$1/ended.new" "$1/ended"
}
say "$1" && rm -rf "$1/home" && exit 0
rm -rf "$1/home"
say "$1" || [ ! -d "$1" ]
)sh";

struct LocalCloud::Book {
  std::string id;
  std::string tag;
  std::string name;
  std::string state;  // alive, preempted, lost (the cloud has forgotten it), expired
  std::string reason;
  double price = 0;
  bool spot = false;
  double created = 0;
  double running_at = 0;
  double expires_at = 0;  // 0: never
  bool preempts = false;  // at expires_at
  double lease = 0;       // what it holds before an agent does
  double ended = 0;       // 0: alive

  Json to_json() const {
    return {{"id", id},
            {"tag", tag},
            {"name", name},
            {"state", state},
            {"reason", reason},
            {"price", price},
            {"spot", spot},
            {"created", created},
            {"running_at", running_at},
            {"expires_at", expires_at},
            {"preempts", preempts},
            {"lease", lease},
            {"ended", ended}};
  }
  static Book from_json(const Json& value) {
    Book book;
    book.id = value.value("id", "");
    book.tag = value.value("tag", "");
    book.name = value.value("name", "");
    book.state = value.value("state", "");
    book.reason = value.value("reason", "");
    book.price = value.value("price", 0.0);
    book.spot = value.value("spot", false);
    book.created = value.value("created", 0.0);
    book.running_at = value.value("running_at", 0.0);
    book.expires_at = value.value("expires_at", 0.0);
    book.preempts = value.value("preempts", book.spot);
    book.lease = value.value("lease", 0.0);
    book.ended = value.value("ended", 0.0);
    return book;
  }
};

// How a living instance has ended, though the books do not say so yet.
struct LocalCloud::Due {
  std::string state, reason;
  double at = 0;
};

}  // namespace choline
