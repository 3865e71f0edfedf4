// Values that must not leak: Secret keeps one in memory that is wiped, Redactor keeps them out of
// every text that leaves the process.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace choline {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value);  // takes the value and wipes the argument
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret();

  bool empty() const { return value_.empty(); }
  // The only way to the value, so that each use can be found by its name.
  std::string_view expose() const { return value_; }

 private:
  std::string value_;
};

// Overwrites the bytes in a way that the optimizer keeps, and empties the text.
void wipe(std::string& text) noexcept;

class Redactor {
 public:
  // The one that logs, errors and streams of this process go through.
  static Redactor& process();

  // While this lives, the value is replaced.
  class Registration {
   public:
    Registration() = default;
    Registration(Registration&& other) noexcept;
    Registration& operator=(Registration&& other) noexcept;
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;
    ~Registration();

   private:
    friend class Redactor;
    Redactor* redactor_ = nullptr;
    size_t id_ = 0;
    void release() noexcept;
  };

  // `name` appears in place of the value: "[secret hf_token]". Its base64, its JSON and its shell
  // form and each long line of it are replaced too. Values under 4 bytes are not: text would drown.
  Registration add(std::string_view value, std::string_view name);
  std::string redact(std::string text) const;

 private:
  struct Entry {
    size_t id;
    std::string name;
    std::vector<Secret> forms;  // longest first
  };
  void remove(size_t id);

  // Workers log too; this is the lock of the log.
  mutable std::mutex mutex_;
  std::list<Entry> entries_;
  size_t last_id_ = 0;
};

}  // namespace choline
