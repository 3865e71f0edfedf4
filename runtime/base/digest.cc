#include "base/digest.h"

#include <openssl/evp.h>

#include <array>
#include <stdexcept>

#include "base/text.h"

namespace choline {

struct Sha256::State {
  State() : context(EVP_MD_CTX_new()) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MD_CTX_free(context); }
  EVP_MD_CTX* context;
};

namespace {
// Only a broken or crippled OpenSSL fails here, and no caller could go on.
void require(bool worked) {
  if (!worked) throw std::runtime_error("OpenSSL cannot compute SHA-256");
}
}  // namespace

Sha256::Sha256() : state_(std::make_unique<State>()) {
  require(state_->context != nullptr);
  require(EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() = default;

void Sha256::update(std::string_view bytes) {
  require(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

std::string Sha256::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> raw;
  unsigned length = 0;
  require(EVP_DigestFinal_ex(state_->context, raw.data(), &length) == 1);
  return to_hex(std::string(raw.begin(), raw.begin() + length));
}

std::string sha256_hex(std::string_view bytes) {
  Sha256 digest;
  digest.update(bytes);
  return digest.finish();
}

}  // namespace choline
