// Whether a machine that one has is what was asked for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "provider/contract.h"

namespace choline {

// Is `wanted` ("RTX 4090", "A100-80GB:2") met by `have`? Words may be in another order and memory
// may be told by the card's size.
bool gpu_matches(const std::string& wanted, const Gpu& have);

// Counts in one line of nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits.
// What is no such line is no card.
void add_gpu(std::vector<Gpu>& gpus, std::string_view line);

struct Machine {
  std::string subject;  // for messages: "this machine"
  int cpus = 0;
  int64_t memory = 0;  // bytes
  int64_t disk = 0;    // bytes free
  std::vector<Gpu> gpus;
};

// Why the machine at the offer's price is not what `query` asks for; empty when it is. Fills in
// what the offer has of it.
std::vector<Offers::Reason> misfits(const OfferQuery& query, const Machine& machine, Offer& offer);

}  // namespace choline
