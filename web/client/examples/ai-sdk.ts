/** Shows a UI message stream of the AI SDK as a stream. Its parts: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol */

import type { Client } from 'seawall-client';
import { begin, type Ended, type Producer } from 'seawall-client/producer';
import { events } from './sse.js';

interface Part { type: string; delta: string; toolCallId: string; toolName: string; output: unknown }

/** Adds a part to the stream. Returns the state of the end for the last one. `tools`: the names of tools by the ids of their calls. */
async function show(part: Part, out: Producer, tools: Map<string, string>): Promise<'completed' | 'failed' | 'cancelled' | void> {
  switch (part.type) {
    case 'start': return out.event('started');
    // A stream has at most 256 events, so what the model thinks is one event, and not one for each word.
    case 'reasoning-start': return out.event('thinking');
    case 'text-delta': return out.write(part.delta);
    case 'tool-input-available':
      tools.set(part.toolCallId, part.toolName);
      return out.event('tool_executing', { tool_name: part.toolName });
    case 'tool-output-available': return out.event('tool_completed', { tool_name: tools.get(part.toolCallId), results: part.output });
    case 'finish': return 'completed';
    case 'error': return 'failed';
    case 'abort': return 'cancelled';
    // text-start, tool-input-delta, data-* and others: the run is alive.
    default: return out.alive();
  }
}

/** Calls the route that `useChat` would call, and shows what it answers to the user who asked. Resolves with the end. */
export async function answer(client: Client, channel: string, route: string, input: { id: string; messages: object[] }, user: string): Promise<Ended> {
  const out = await begin(client, channel, { key: input.id, for: user, data: { by: 'model' } });
  // Another process had begun this run. The model is asked again, so its text starts over.
  if (out.stored > 0) await out.restart();
  const tools = new Map<string, string>();
  try {
    const response = await fetch(route, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(input), signal: out.cancelled });
    for await (const part of events<Part>(response)) {
      const state = await show(part, out, tools);
      if (state) return out.end(state);
    }
  } catch (error) {
    if (!out.cancelled.aborted) console.error(error);
  }
  // A reader stopped it, or the parts broke off.
  return out.end(out.cancelled.aborted ? 'cancelled' : 'failed');
}
