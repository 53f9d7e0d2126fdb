#!/usr/bin/env python3
"""Shows a response of OpenAI's Responses API as a stream. It reads the server-sent events of `"stream": true`:

    curl -sN https://api.openai.com/v1/responses -H "Authorization: Bearer $OPENAI_API_KEY" -H 'Content-Type: application/json' \\
      -d '{"model":"gpt-5","stream":true,"input":"Why is the sky blue?"}' \\
      | python3 examples/openai_events.py ws://127.0.0.1:8080/ws lobby run_81 [TOKEN]

A stream has at most 256 events (`streams.events_per_stream`), so what the model thinks is one event, and not one for each word.
"""

import asyncio
import sys

from producer import Producer, show_input


async def show(event, out):
    """Adds an event of the provider to the stream. Returns the state of the end for the last one."""
    kind, item = event["type"], event.get("item", {})
    is_tool = item.get("type", "").endswith("_call")
    # A built-in tool has no name but its type, such as `web_search_call`.
    tool = {"tool_name": item.get("name", item.get("type"))}
    if kind == "response.created":
        await out.event("started", {"model": event["response"].get("model")})
    elif kind == "response.output_item.added" and item["type"] == "reasoning":
        await out.event("thinking", {})
    elif kind == "response.output_item.added" and is_tool:
        await out.event("tool_executing", tool)
    elif kind == "response.output_item.done" and is_tool and item["type"] != "function_call":
        # Of a `function_call` only the arguments are complete: call the function, and add `tool_completed` with its result yourself.
        await out.event("tool_completed", tool)
    elif kind == "response.output_text.delta":
        await out.write(event["delta"])
    elif kind in ("response.completed", "response.incomplete"):
        return "completed"
    elif kind in ("response.failed", "error"):
        return "failed"
    else:
        out.alive()


async def main(url, channel, run, token=None):
    print(await show_input(show, await Producer.begin(url, channel, run, {"by": "openai"}, token)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
