// The far end of a transfer: what the agent runs for each transfer channel. Blocking, without a
// loop: the agent forks a child that calls this on one end of a socket pair and relays the bytes of
// the other, so that a transfer never delays a log line or a signal. The child ends with the
// session.
//
// The agent compiles these files of runtime/: base/{error,json,text,random,digest_fast}.cc and
// transfer/{authorized_keys,big_part,checkpoint,dealer,entries,frame,gauge,ignore,lane,lister,
// listener,manifest,match,named_socket,options,pace,pack,pack_committer,pieces,plan,receive,
// receive_big,receive_contents,receive_pack,receive_plan,send,send_big,send_contents,send_pack,serve,
// source_file,squeeze,stream,target,tree,tree_only,
// two_way,two_way_change,two_way_side,walk,watch_tree}.cc.
#pragma once

#include <functional>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "transfer/options.h"
#include "transfer/stream.h"

namespace choline {

struct ServeOptions {
  // Relative places of a request start here; an empty one means the current folder.
  std::string root;
};

// Serves one session: reads the request, sends or receives a tree, reports, returns. An error has
// been told to the peer already where that was possible.
Status serve_transfer(Stream& stream, const ServeOptions& options);

// The same where the request is known already, and the far end is never asked for one: it has the
// other role, and can change neither path nor options. To send and to receive only.
Result<SyncReport> serve_given(Stream& stream, const Json& request, const ServeOptions& options,
                               std::function<void(const SyncProgress&)> progress);

// The first over a descriptor, or two; gives an exit code (0 or 1). Ignores SIGPIPE.
int serve_transfer(int in, int out, const ServeOptions& options);

}  // namespace choline
