#include "provider/match.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "base/text.h"

namespace choline {
namespace {

constexpr int64_t kGib = int64_t{1} << 30;

std::vector<std::string> words_of(const std::string& name) {
  std::vector<std::string> words(1);
  for (char c : to_lower(name)) {
    if (std::isalnum(static_cast<unsigned char>(c))) {
      words.back() += c;
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

// "80gb" as GiB; cards tell a little less than their name says.
bool is_memory_word(const std::string& word, int64_t memory) {
  if (!word.ends_with("gb")) return false;
  int size = 0;
  auto [stop, fault] = std::from_chars(word.data(), word.data() + word.size() - 2, size);
  if (fault != std::errc() || stop != word.data() + word.size() - 2) return false;
  double have = static_cast<double>(memory) / static_cast<double>(kGib);
  return std::abs(have - size) <= 0.08 * size;
}

std::string gib(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB",
                static_cast<double>(bytes) / static_cast<double>(kGib));
  return text;
}

std::string dollars(double price) {
  char text[32];
  std::snprintf(text, sizeof text, "$%.2f/h", price);
  return text;
}

std::string gpu_list(const std::vector<Gpu>& gpus) {
  std::vector<std::string> names;
  names.reserve(gpus.size());
  for (const Gpu& gpu : gpus) names.push_back(std::to_string(gpu.count) + " " + gpu.name);
  return gpus.empty() ? "none" : join(names, ", ");
}

}  // namespace

bool gpu_matches(const std::string& wanted, const Gpu& have) {
  std::string name = wanted;
  int count = 1;
  size_t colon = name.rfind(':');
  if (colon != std::string::npos) {
    count = std::atoi(name.c_str() + colon + 1);
    name.resize(colon);
  }
  if (have.count < count || count < 1) return false;
  std::vector<std::string> present = words_of(have.name);
  std::vector<std::string> words = words_of(name);
  return !words.empty() && std::all_of(words.begin(), words.end(), [&](const std::string& word) {
    bool named = std::find(present.begin(), present.end(), word) != present.end();
    return named || is_memory_word(word, have.memory);
  });
}

void add_gpu(std::vector<Gpu>& gpus, std::string_view line) {
  size_t comma = line.rfind(',');
  if (comma == std::string_view::npos) return;
  std::string name(trim(line.substr(0, comma)));
  std::string_view size = trim(line.substr(comma + 1));
  int64_t mebibytes = 0;
  auto [stop, fault] = std::from_chars(size.data(), size.data() + size.size(), mebibytes);
  if (name.empty() || fault != std::errc()) return;
  auto same = std::find_if(gpus.begin(), gpus.end(), [&](const Gpu& g) { return g.name == name; });
  if (same != gpus.end()) {
    ++same->count;
  } else {
    gpus.push_back(Gpu{name, 1, mebibytes << 20});
  }
}

std::vector<Offers::Reason> misfits(const OfferQuery& query, const Machine& machine, Offer& offer) {
  std::vector<Offers::Reason> reasons;
  auto refuse = [&](std::string reason, ErrorKind kind = ErrorKind::no_capacity) {
    reasons.push_back(Offers::Reason{kind, std::move(reason)});
  };
  const std::string has = "; " + machine.subject + " has ";
  offer.cpus = machine.cpus;
  offer.memory = machine.memory;
  offer.disk = machine.disk;
  for (const std::string& wanted : query.gpu) {
    for (const Gpu& gpu : machine.gpus) {
      if (!offer.gpu && gpu_matches(wanted, gpu)) offer.gpu = gpu;
    }
  }
  if (!query.gpu.empty() && !offer.gpu) {
    refuse("no GPU " + join(query.gpu, " or ") + has + gpu_list(machine.gpus));
  }
  if (query.gpu.empty() && !machine.gpus.empty()) offer.gpu = machine.gpus.front();
  if (query.cpus > machine.cpus) {
    refuse(std::to_string(query.cpus) + " cpus wanted" + has + std::to_string(machine.cpus));
  }
  if (query.memory > machine.memory) {
    refuse(gib(query.memory) + " of memory wanted" + has + gib(machine.memory));
  }
  if (query.disk > machine.disk) {
    refuse(gib(query.disk) + " of disk wanted; " + gib(machine.disk) + " are free");
  }
  if (query.max_price > 0 && offer.price > query.max_price) {
    refuse(dollars(offer.price) + " is over " + dollars(query.max_price), ErrorKind::price);
  }
  return reasons;
}

}  // namespace choline
