// A transfer over an agent: the far end is the agent's verb "files", which runs serve_transfer().
#pragma once

#include <memory>

#include "link/agent_client.h"
#include "transfer/channel.h"

namespace choline {

// `window`: bytes that may be on their way here; a far instance with a fast line wants more.
Result<std::unique_ptr<Channel>> open_transfer_channel(AgentClient& client,
                                                       uint32_t window = uint32_t{4} << 20);

}  // namespace choline
