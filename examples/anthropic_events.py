#!/usr/bin/env python3
"""Shows a message of Anthropic's Messages API as a stream. It reads the server-sent events of `"stream": true`:

    curl -sN https://api.anthropic.com/v1/messages -H "x-api-key: $ANTHROPIC_API_KEY" -H 'anthropic-version: 2023-06-01' \\
      -H 'content-type: application/json' \\
      -d '{"model":"claude-sonnet-4-5","max_tokens":512,"stream":true,"messages":[{"role":"user","content":"Why is the sky blue?"}]}' \\
      | python3 examples/anthropic_events.py ws://127.0.0.1:8080/ws lobby run_81 [TOKEN]

A stream has at most 256 events (`streams.events_per_stream`), so what the model thinks is one event, and not one for each word.
"""

import asyncio
import sys

from producer import Producer, show_input


async def show(event, out):
    """Adds an event of the provider to the stream. Returns the state of the end for the last one."""
    kind, block, delta = event["type"], event.get("content_block", {}), event.get("delta", {})
    if kind == "message_start":
        await out.event("started", {"model": event["message"].get("model")})
    elif kind == "content_block_start" and block["type"] == "thinking":
        await out.event("thinking", {})
    elif kind == "content_block_start" and block["type"] == "tool_use":
        # Its arguments follow. Call the tool after `message_stop`, and add `tool_completed` with its result yourself.
        await out.event("tool_executing", {"tool_name": block["name"]})
    elif kind == "content_block_delta" and delta["type"] == "text_delta":
        await out.write(delta["text"])
    elif kind == "message_delta":
        await out.event("usage", event.get("usage", {}))
    elif kind == "message_stop":
        return "completed"
    elif kind == "error":
        return "failed"
    else:
        # A `ping`, or a part that is not shown: the run is alive.
        out.alive()


async def main(url, channel, run, token=None):
    print(await show_input(show, await Producer.begin(url, channel, run, {"by": "anthropic"}, token)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
