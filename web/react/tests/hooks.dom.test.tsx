/** The provider and the hooks on each runtime, under strict mode, against a gateway in the same process. */

import { pass, runtime, show } from './dom.js';
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import * as React from 'react';
import { StrictMode, type ReactNode } from 'react';
import { clearDrafts, useChannel, useDraft, usePresence, usePublish } from '../src/chat.js';
import { createKit, SeawallProvider, useConnection, useErrors, useFlag, useLost, useOutbox, useSeawall, useStatus, type KitOptions } from '../src/index.js';
import { Echo } from './gateway.js';

const on = (name: string, run: (t: TestContext) => Promise<void>) => test(`${runtime}: ${name}`, run);

function app(t: TestContext, server: Echo, children: ReactNode, more: object = {}, kit = createKit()) {
  const draw = (inner: ReactNode, props: object = {}) => (
    <StrictMode><SeawallProvider kit={kit} url="ws://gateway.example/ws" WebSocket={server.Socket} {...more} {...props}>{inner}</SeawallProvider></StrictMode>
  );
  const it = show(t, draw(children));
  return { ...it, kit, again: (inner: ReactNode, props?: object) => it.draw(draw(inner, props)) };
}

interface Text { readonly text: string }

function Room({ name = 'lobby' }: { readonly name?: string }): ReactNode {
  const { messages, state, typing } = useChannel<Text>(name, { last: 50 });
  const publish = usePublish<Text>(name);
  const { waiting, failed, retryAll } = useOutbox(name);
  const lines = messages.map((one) => (one.kind === 'message' && !one.deleted ? `${one.user ?? 'me'}:${one.data.text}${one.pending ? '*' : ''}` : one.kind));
  return (
    <>
      <p>{[state.phase, ...lines].join(' ')}</p>
      <i>{`waiting ${waiting.length} failed ${failed.length} typing ${typing.join()}`}</i>
      <button onClick={() => { publish({ text: 'hello' }).catch(() => {}); }}>send</button>
      <button onClick={retryAll}>retry</button>
    </>
  );
}

function Facts(): ReactNode {
  const { phase, online, user, because } = useConnection();
  const { level } = useStatus();
  return <p>{`${phase} ${online} ${user} ${because?.reason} ${level} ${useLost('replies')}`}</p>;
}

on('a component without a provider throws a sentence that names it', async (t) => {
  let said = '';
  const it = show(t, <Catch say={(text) => { said = text; }} />);
  await it.sees('the sentence', () => said !== '');
  assert.equal(said, 'Put a SeawallProvider around this component.');
});

function Catch({ say }: { readonly say: (text: string) => void }): ReactNode {
  try { useSeawall(); } catch (error) { say((error as Error).message); }
  return null;
}

function Feature(): ReactNode {
  return <p>{`markdown ${useFlag('markdown')} move ${useFlag('seawall.move')}`}</p>;
}

on('a flag that is switched is drawn', async (t) => {
  const server = new Echo();
  server.flags = ['markdown'];
  const it = app(t, server, <Feature />);
  await it.sees('the flags of the gateway', () => it.text() === 'markdown true move false');
  server.sockets[0]!.deliver({ flags: { on: [] } });
  await it.sees('the flag is off', () => it.text() === 'markdown false move false');
});

on('strict mode opens one connection, and unmounting closes it', async (t) => {
  const server = new Echo();
  const it = app(t, server, <><Facts /><Room /></>);
  await it.sees('online', () => it.text().includes('online true anonymous undefined ok false') && it.text().includes('live'));
  await pass(20);
  assert.equal(server.sockets.length, 1);
  const subscribed = () => server.sockets.flatMap(({ sent }) => sent).filter((frame) => frame['subscribe']).length;
  assert.equal(subscribed(), 1);
  let closed = false;
  server.sockets[0]!.close = () => { closed = true; };
  it.end();
  await it.sees('the socket is closed', () => closed);
});

on('an inline token callback does not make another client, and the newest is called; another url does', async (t) => {
  const server = new Echo();
  const asked: string[] = [];
  const token = (name: string) => ({ token: () => { asked.push(name); return name; } });
  const it = app(t, server, <Facts />, token('first'));
  await it.sees('online', () => it.text().includes('online'));
  it.again(<Facts />, token('second'));
  await pass(20);
  assert.equal(server.sockets.length, 1);
  assert.deepEqual(asked, ['first']);
  it.again(<Facts />, { ...token('third'), url: 'ws://other.example/ws' });
  await it.sees('the other', () => server.urls.some((url) => url.includes('other.example')) && it.text().includes('online'));
  assert.deepEqual([server.urls.length, asked.at(-1)], [2, 'third']);
});

on('messages of a burst are drawn at most ten times a second, and what the user writes at once', async (t) => {
  const server = new Echo();
  let drawn = 0;
  const Counted = (): ReactNode => {
    const { messages } = useChannel<Text>('lobby');
    React.useEffect(() => { drawn += 1; }, [messages]);
    return null;
  };
  const it = app(t, server, <><Room /><Counted /></>);
  await it.sees('live', () => it.text().includes('live'));
  drawn = 0;
  const begun = performance.now();
  for (let sent = 1; sent <= 60; sent += 1) {
    server.push('lobby', { text: `m${sent}` });
    await pass(5);
  }
  await it.sees('all of them', () => it.text().includes('grace:m60'));
  const most = (performance.now() - begun) / 100 + 3;
  assert.ok(drawn <= most, `${drawn} times, at most ${most}`);
  server.answers = false;
  it.click('send');
  await it.sees('the message of the user', () => it.text().includes('hello*'));
});

on('a channel shows what arrives and what this user writes, once, and joins it by its key', async (t) => {
  const server = new Echo();
  server.user = 'ann';
  const it = app(t, server, <><Room /><Room /></>);
  await it.sees('live', () => it.text().includes('live'));
  server.push('lobby', { text: 'hi' });
  await it.sees('the message in both', () => it.all('p').every(({ textContent }) => textContent === 'live grace:hi'));
  server.answers = false;
  it.click('send');
  await it.sees('it waits', () => it.text().includes('live grace:hi ann:hello*waiting 1'));
  server.answers = true;
  server.sockets[0]!.lost();
  await it.sees('it is stored', () => /grace:hi ann:hellowaiting 0 failed 0/.test(it.text()));
  const keys = server.sockets.flatMap(({ sent }) => sent).flatMap((frame) => frame['publish']?.key ?? []);
  assert.equal(new Set(keys).size, 1);
});

function Button(): ReactNode {
  const publish = usePublish<Text>('lobby');
  return <button onClick={() => void publish({ text: 'alone' })}>send</button>;
}

on('a component that only publishes does not stay in the channel', async (t) => {
  const server = new Echo();
  const it = app(t, server, <><Facts /><Button /></>);
  await it.sees('online', () => it.text().includes('online'));
  it.click('send');
  await it.sees('it is stored', () => server.stored.length === 1);
  const sent = server.sockets[0]!.sent.flatMap((frame) => Object.keys(frame).filter((name) => /subscribe/.test(name)));
  assert.ok(sent.length % 2 === 0 && sent.at(-1) !== 'subscribe', sent.join());
});

on('another name is another channel, and the first is left', async (t) => {
  const server = new Echo();
  const it = app(t, server, <Room name="one" />);
  await it.sees('live', () => it.text().includes('live'));
  server.push('one', { text: 'in one' });
  await it.sees('its message', () => it.text().includes('in one'));
  it.again(<Room name="two" />);
  await it.sees('the other', () => it.text().includes('live') && !it.text().includes('in one'));
  const left = () => server.sockets[0]!.sent.some((frame) => frame['unsubscribe']?.channel === 'one');
  await it.sees('the first is left', left);
});

on('what was hidden and is shown again has a connection', async (t) => {
  // Only React since 19.2 hides components and keeps their state.
  const Activity = (React as never as { Activity?: React.ComponentType<{ mode: string; children: ReactNode }> }).Activity;
  if (!Activity) return t.skip('this runtime has no Activity');
  const server = new Echo();
  const kit = createKit();
  const draw = (mode: string) => (
    <Activity mode={mode}>
      <SeawallProvider kit={kit} url="ws://gateway.example/ws" WebSocket={server.Socket}><Room /></SeawallProvider>
    </Activity>
  );
  const it = show(t, draw('visible'));
  await it.sees('live', () => it.text().includes('live'));
  let closed = false;
  server.sockets[0]!.close = () => { closed = true; };
  it.draw(draw('hidden'));
  await it.sees('the socket is closed', () => closed);
  it.draw(draw('visible'));
  await it.sees('a second connection', () => server.sockets.length === 2 && it.text().includes('live'));
});

on('others are seen writing, and not this tab', async (t) => {
  const server = new Echo();
  const it = app(t, server, <Room />);
  await it.sees('live', () => it.text().includes('live'));
  server.sockets[0]!.deliver({ signal: { channel: 'lobby', user: 'grace', data: { typing: true } } });
  await it.sees('grace', () => it.text().includes('typing grace'));
  server.push('lobby', { text: 'done' });
  await it.sees('no longer', () => /typing $/.test(it.all('i')[0]!.textContent!));
});

function People(): ReactNode {
  const { users, members, complete } = usePresence('lobby');
  return <p>{`${users} ${complete}: ${[...members.keys()].join()}`}</p>;
}

on('a roster is watched by the subscription of the channel', async (t) => {
  const server = new Echo();
  const it = app(t, server, <><Room /><People /></>);
  await it.sees('live', () => it.text().includes('live'));
  const [subscribe] = server.sockets[0]!.sent.flatMap((frame) => frame['subscribe'] ?? []);
  assert.deepEqual([subscribe.watch, subscribe.last], ['members', 50]);
  const member = { user: 'grace', connections: 1, since: 1 };
  server.sockets[0]!.deliver({ presence: { channel: 'lobby', revision: 1, complete: true, users: 1, connections: 1, members: [member] } });
  await it.sees('grace', () => it.text().includes('1 true: grace'));
});

function Composer({ name }: { readonly name: string }): ReactNode {
  const [text, setText] = useDraft(name);
  return <><s>{text}</s><button onClick={() => setText(`${text}x`)}>write</button></>;
}

on('a draft survives that its component is mounted again, and belongs to its channel', async (t) => {
  sessionStorage.clear();
  const server = new Echo();
  const it = app(t, server, <Composer key="1" name="lobby" />);
  await it.sees('it', () => it.all('s').length === 1);
  it.click('write');
  await it.sees('the draft', () => it.all('s')[0]!.textContent === 'x');
  it.again(<Composer key="2" name="lobby" />);
  await pass(20);
  assert.equal(it.all('s')[0]!.textContent, 'x');
  assert.equal(sessionStorage.getItem('seawall.draft.lobby'), 'x');
  it.again(<Composer name="harbour" />);
  await it.sees('the other', () => it.all('s')[0]!.textContent === '');
  const reloaded = app(t, new Echo(), <Composer name="lobby" />);
  await reloaded.sees('after a reload', () => reloaded.all('s')[0]?.textContent === 'x');
  sessionStorage.setItem('seawall.draft.harbour', 'of before');
  clearDrafts(reloaded.kit);
  await reloaded.sees('nothing after the end of the session', () => reloaded.all('s')[0]!.textContent === '');
  assert.deepEqual([sessionStorage.getItem('seawall.draft.lobby'), sessionStorage.getItem('seawall.draft.harbour')], [null, null]);
});

function Failing(): ReactNode {
  const { groups, report } = useErrors();
  return <><p>{groups.map(({ message, count }) => `${message} ${count}`).join()}</p><button onClick={() => report(new Error('in a handler'), 'chat', { what: 'upload' })}>fail</button></>;
}

on('an error of an event handler is reported with the situation', async (t) => {
  const server = new Echo();
  const seen: unknown[] = [];
  const options: KitOptions = { release: 'web 1.4.2', onError: (_, report) => seen.push(report.context) };
  const it = app(t, server, <><Failing /><Facts /></>, {}, createKit(options));
  await it.sees('online', () => it.text().includes('online'));
  it.click('fail');
  await it.sees('the group', () => it.text().includes('in a handler 1'));
  assert.deepEqual(seen, [{ release: 'web 1.4.2', phase: 'online', what: 'upload' }]);
});
