/** Server rendering on each runtime: nothing is opened, and the HTML says nothing about a connection that was not tried. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReactNode } from 'react';
import { renderToString } from 'react-dom/server';
import { MessageList, useChannel, useDraft, usePresence, usePublish } from '../src/chat.js';
import {
  AppBoundary, ChatBoundary, createKit, MessageBoundary, SeawallProvider, StatusBanner, ThreadBoundary, useConnection, useErrors, useOutbox, useStatus,
} from '../src/index.js';

declare const RUNTIME: string;

function Room(): ReactNode {
  const { messages, state } = useChannel('lobby', { last: 50 });
  const { online, phase } = useConnection();
  const { users } = usePresence('lobby');
  const { waiting } = useOutbox();
  const [draft] = useDraft('lobby');
  usePublish('lobby');
  return (
    <ThreadBoundary plain={messages}>
      <p>{JSON.stringify([state.phase, online, phase, users, waiting.length, draft, useStatus().level, useErrors().groups.length])}</p>
      <MessageList items={messages} empty={<i>nothing yet</i>}>{(message) => <MessageBoundary text="">{message.id}</MessageBoundary>}</MessageList>
    </ThreadBoundary>
  );
}

test(`${RUNTIME}: a server renders an app without WebSocket, document or timers`, () => {
  const noted: unknown[] = [];
  console.error = (...args) => { noted.push(args); };
  const kit = createKit();
  const page = () => renderToString(
    <AppBoundary kit={kit}><SeawallProvider kit={kit} url="/ws" token={() => { throw new Error('asked for a token'); }}><StatusBanner /><ChatBoundary><Room /></ChatBoundary></SeawallProvider></AppBoundary>,
  );
  const html = page().replaceAll('&quot;', '"').replace(/<!-- -->/g, '');
  assert.match(html, /\["waiting",false,"connecting",0,0,"","unknown",0\]/);
  assert.match(html, /nothing yet/);
  assert.ok(!html.includes('style='), 'a policy without unsafe-inline forbids the attribute');
  assert.ok(!html.includes('sw-banner') && !/Reconnect/.test(html));
  assert.equal(page().replaceAll('&quot;', '"').replace(/<!-- -->/g, ''), html, 'the same each time');
  assert.deepEqual(noted, []);
});
