/** Shows a run of an AG-UI agent as a stream. Its events: https://docs.ag-ui.com/concepts/events */

import type { Client } from 'seawall-client';
import { begin, type Ended, type Producer } from 'seawall-client/producer';
import { events } from './sse.js';

interface Event { type: string; delta: string; toolCallId: string; toolCallName: string; content: string }

/** Adds an event to the stream. Returns the state of the end for the last one. `tools`: the names of tools by the ids of their calls. */
async function show(event: Event, out: Producer, tools: Map<string, string>): Promise<'completed' | 'failed' | void> {
  switch (event.type) {
    case 'RUN_STARTED': return out.event('started');
    // A stream has at most 256 events, so what the agent thinks is one event, and not one for each word.
    case 'REASONING_MESSAGE_START': return out.event('thinking');
    case 'TEXT_MESSAGE_CONTENT': return out.write(event.delta);
    case 'TOOL_CALL_START':
      tools.set(event.toolCallId, event.toolCallName);
      return out.event('tool_executing', { tool_name: event.toolCallName });
    case 'TOOL_CALL_RESULT': return out.event('tool_completed', { tool_name: tools.get(event.toolCallId), results: event.content.slice(0, 1_000) });
    case 'RUN_FINISHED': return 'completed';
    case 'RUN_ERROR': return 'failed';
    // STATE_*, STEP_* and others: the run is alive.
    default: return out.alive();
  }
}

/** Runs the agent at this address, and shows what it says to the user who asked. Resolves with the end. */
export async function answer(client: Client, channel: string, agent: string, input: { runId: string; messages: object[] }, user: string): Promise<Ended> {
  const out = await begin(client, channel, { key: input.runId, for: user, data: { by: 'agent' } });
  // Another process had begun this run. The agent is asked again, so its text starts over.
  if (out.stored > 0) await out.restart();
  const tools = new Map<string, string>();
  try {
    const headers = { 'Content-Type': 'application/json', Accept: 'text/event-stream' };
    const response = await fetch(agent, { method: 'POST', headers, body: JSON.stringify(input), signal: out.cancelled });
    for await (const event of events<Event>(response)) {
      const state = await show(event, out, tools);
      if (state) return out.end(state);
    }
  } catch (error) {
    if (!out.cancelled.aborted) console.error(error);
  }
  // A reader stopped it, or the events broke off.
  return out.end(out.cancelled.aborted ? 'cancelled' : 'failed');
}
