// Tells what of a file the receiver has, by the list that it sends, and sends the rest.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "transfer/send_big.h"

namespace choline {

class Matcher {
 public:
  Matcher(PieceSink& sink, const BigSender::Context& context, Listener& listener, Dealer& dealer)
      : sink_(sink), context_(context), listener_(listener), dealer_(dealer) {}

  // Up to which byte the file is dealt with. What follows is to be sent whole: the list says
  // nothing about it, or so little was found in it that it is not worth the search.
  Result<uint64_t> run(BigFile& file);

 private:
  struct Run {  // of bytes that the receiver has
    uint64_t offset = 0, from = 0, length = 0;
  };
  Status more();
  Result<uint64_t> match_blocks();
  Result<uint64_t> match_chunks();
  Status compare_window(std::string_view window, uint64_t at);
  Status send_new(uint64_t offset, std::string_view bytes);
  Status found(uint64_t offset, uint64_t from, uint64_t length);
  Status flush();
  bool is_hopeless() const;

  PieceSink& sink_;
  const BigSender::Context& context_;
  Listener& listener_;
  Dealer& dealer_;
  BigFile* file_ = nullptr;
  Listener::Listed list_;  // with all of its items
  Run run_;
  uint64_t found_ = 0, seen_ = 0;
};

}  // namespace choline
