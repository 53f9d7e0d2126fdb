/** The list, the banner and the announcer on each runtime. Scrolling needs a layout: tests/browser/kit.test.mjs. */

import { pass, runtime, show } from './dom.js';
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { StrictMode, type ReactNode } from 'react';
import { MessageList, useChannel } from '../src/chat.js';
import { createKit, SeawallProvider, StatusBanner, useAnnounce } from '../src/index.js';
import { Echo } from './gateway.js';

const on = (name: string, run: (t: TestContext) => Promise<void>) => test(`${runtime}: ${name}`, run);

interface Item { readonly id: string; readonly kind: 'message'; readonly time: number; readonly user: string; readonly own?: boolean; readonly data: { readonly text: string }; readonly pending?: never }

const day = new Date(2026, 10, 27, 12).getTime();
const item = (at: number, more: Partial<Item> = {}): Item => ({ id: `m${at}`, kind: 'message', time: day + Math.floor(at / 100) * 86_400_000, user: 'grace', data: { text: `text ${at}` }, ...more });

function app(t: TestContext, children: ReactNode, server = new Echo()) {
  const kit = createKit();
  const draw = (inner: ReactNode) => <StrictMode><SeawallProvider kit={kit} url="ws://gateway.example/ws" WebSocket={server.Socket}>{inner}</SeawallProvider></StrictMode>;
  const it = show(t, draw(children));
  return { ...it, server, again: (inner: ReactNode) => it.draw(draw(inner)) };
}

on('a list of 1,000 has at most 150 rows, one tab stop and a line for each day, and draws what changed', async (t) => {
  const drawn: string[] = [];
  const list = (items: readonly Item[], version = 0) => (
    <MessageList items={items} version={version}>{(one, { active }) => { drawn.push(one.id); return <b>{`${one.data.text}${active ? ' active' : ''}`}</b>; }}</MessageList>
  );
  const all = Array.from({ length: 1_000 }, (_, at) => item(at));
  const it = app(t, list(all));
  await it.sees('the end', () => it.text().includes('text 999 active'));
  assert.equal(it.all('li').length, 100);
  assert.equal(it.all('.sw-day').length, 1);
  assert.equal(it.all('[role=log]').length, 1);
  assert.equal(it.all('[role=log] > ol').length, 1);
  assert.deepEqual(it.all('li[tabindex="0"]').map(({ dataset }) => dataset['id']), ['m999']);
  drawn.length = 0;
  it.again(list([...all, item(1_000)]));
  await it.sees('the new one', () => it.text().includes('text 1000 active'));
  assert.deepEqual(new Set(drawn), new Set(['m999', 'm1000']), 'only the new row and the one that was active are drawn');
  it.again(list([...all, item(1_000)], 1));
  await it.sees('all again', () => drawn.length > 100);
});

on('arrow keys move among the rows', async (t) => {
  const it = app(t, <MessageList items={[item(1), item(2), item(3)]}>{(one) => <b>{one.data.text}</b>}</MessageList>);
  await it.sees('the rows', () => it.all('li').length === 3);
  const press = (key: string) => {
    const init = { key, bubbles: true, cancelable: true };
    document.activeElement!.dispatchEvent(new (window as unknown as { KeyboardEvent: typeof KeyboardEvent }).KeyboardEvent('keydown', init));
    return (document.activeElement as HTMLElement).dataset['id'];
  };
  it.all('li')[2]!.focus();
  assert.deepEqual([press('ArrowUp'), press('ArrowUp'), press('ArrowUp'), press('End'), press('Home')], ['m2', 'm1', 'm1', 'm3', 'm1']);
  await it.sees('one tab stop', () => it.all('li[tabindex="0"]').map(({ dataset }) => dataset['id']).join() === 'm1');
});

on('earlier messages can be loaded by a button, and an empty list says so', async (t) => {
  let loads = 0;
  const list = (items: readonly Item[]) => <MessageList items={items} hasOlder={items.length > 0} onOlder={() => { loads += 1; }} empty={<i>nothing yet</i>}>{(one) => one.data.text}</MessageList>;
  const it = app(t, list([]));
  await it.sees('that it is empty', () => it.text().includes('nothing yet'));
  it.again(list([item(1)]));
  await it.sees('the message', () => it.text().includes('text 1'));
  assert.equal(loads, 0, 'a list without a size loads nothing by itself');
  it.click('Earlier messages');
  assert.equal(loads, 1);
});

on('earlier messages are asked for once when the reader is at the beginning, not at each render', async (t) => {
  // The document has no layout: the list thinks that it has a height, and that its beginning is in view.
  const { prototype } = HTMLElement;
  const was = Object.getOwnPropertyDescriptor(prototype, 'clientHeight')!;
  Object.defineProperty(prototype, 'clientHeight', { get: () => 500, configurable: true });
  t.after(() => { Object.defineProperty(prototype, 'clientHeight', was); });
  let loads = 0;
  const list = (items: readonly Item[], version: number) => <MessageList items={items} version={version} hasOlder onOlder={() => { loads += 1; }}>{(one) => `${one.data.text} ${version}`}</MessageList>;
  const it = app(t, list([item(2)], 0));
  await it.sees('the message', () => it.text().includes('text 2 0'));
  for (let version = 1; version < 5; version += 1) {
    it.again(list([item(2)], version));
    await it.sees('a render', () => it.text().includes(`text 2 ${version}`));
  }
  assert.equal(loads, 1);
  it.again(list([item(1), item(2)], 5));
  await it.sees('the earlier one', () => it.text().includes('text 1 5'));
  assert.equal(loads, 2);
});

on('new messages of others are announced politely, failures of own ones at once, and old ones not', async (t) => {
  const list = (items: readonly object[]) => <MessageList items={items as Item[]}>{(one) => one.data.text}</MessageList>;
  const it = app(t, list([item(1, { time: 1 })]));
  await it.sees('the message', () => it.text().includes('text 1'));
  const said = (role: string) => it.all(`[role=${role}]`)[0]!.textContent;
  const later = Date.now() + 60_000;
  it.again(list([item(1, { time: 1 }), item(2, { time: later }), item(3, { time: later, own: true })]));
  await it.sees('the new one is said', () => said('status') === 'grace: text 2');
  const failed = { ...item(4, { time: later, own: true }), pending: { key: 'k', state: 'failed', error: { code: 'forbidden', message: 'You may not write here.' } } };
  it.again(list([item(1, { time: 1 }), item(2, { time: later }), item(3, { time: later, own: true }), failed]));
  await it.sees('the failure is said', () => said('alert') === 'You may not write here.');
  assert.equal(said('status'), '');
  // The failed one stays at the end, and what arrives is put before it.
  it.again(list([item(1, { time: 1 }), item(2, { time: later }), item(3, { time: later, own: true }), item(5, { time: later }), failed]));
  await it.sees('the next one is said', () => said('status') === 'grace: text 5');
});

on('what is announced does not depend on a clock', async (t) => {
  const list = (items: readonly Item[]) => <MessageList items={items}>{(one) => one.data.text}</MessageList>;
  const said = () => it.all('[role=status]')[0]!.textContent;
  // The clock of this device is ahead of the gateway's by decades.
  const [old, fresh, last] = [item(1, { time: 1 }), item(2, { time: 2 }), item(3, { time: 3 })];
  const it = app(t, list([]));
  await it.sees('the empty list', () => it.all('[role=log]').length === 1);
  it.again(list([old]));
  await it.sees('the message', () => it.text().includes('text 1'));
  it.again(list([old, fresh]));
  await it.sees('the new one is said', () => said() === 'grace: text 2');
  it.again(list([old, fresh, last]));
  await it.sees('the next one is said', () => said() === 'grace: text 3');
});

function Talk(): ReactNode {
  return <MessageList items={useChannel<Item['data']>('lobby', { last: 50 }).messages}>{(one) => (one.kind === 'message' && !one.deleted ? one.data.text : one.kind)}</MessageList>;
}

on('the first message in an empty channel is announced', async (t) => {
  const it = app(t, <Talk />);
  const said = () => it.all('[role=status]')[0]!.textContent;
  await it.sees('subscribed', () => it.server.sockets[0]?.sent.some((frame) => frame['subscribe']) === true);
  await pass(300);
  it.server.push('lobby', { text: 'first' });
  await it.sees('it is said', () => said() === 'grace: first');
});

/** A gateway whose channels have a message, which takes a moment to arrive. */
class Filled extends Echo {
  override handle(socket: Parameters<Echo['handle']>[0], frame: Record<string, any>): void {
    const { id, subscribe } = frame;
    if (!subscribe) return super.handle(socket, frame);
    const { channel } = subscribe;
    socket.deliver({ id, subscribed: { channel, epoch: 'e', head: 1, floor: 1 } });
    setTimeout(() => this.push(channel, { text: 'old' }), 50);
    setTimeout(() => socket.deliver({ synced: { channel, offset: 1 } }), 300);
  }
}

on('what a channel had when it was opened is not announced', async (t) => {
  const it = app(t, <Talk />, new Filled());
  const said = () => it.all('[role=status]')[0]!.textContent;
  await it.sees('the message', () => it.text().includes('old'));
  await pass(500);
  assert.equal(said(), '');
  it.server.push('lobby', { text: 'later' });
  await it.sees('the next one is said', () => said() === 'grace: later');
});

on('a button that leaves hands the focus to the last row', async (t) => {
  const { prototype } = HTMLElement;
  Object.defineProperty(prototype, 'scrollHeight', { get: () => 5_000, configurable: true });
  t.after(() => { delete (prototype as { scrollHeight?: number }).scrollHeight; });
  const it = app(t, <MessageList items={[item(1), item(2)]}>{(one) => one.data.text}</MessageList>);
  await it.sees('the rows', () => it.all('li').length === 2);
  const scroll = it.all('.sw-scroll')[0]!;
  scroll.scrollTop = 100;
  scroll.dispatchEvent(new Event('scroll'));
  await it.sees('the button', () => it.all('.sw-newer').length === 1);
  const button = it.all('.sw-newer')[0]!;
  button.focus();
  button.click();
  await it.sees('the button is gone', () => it.all('.sw-newer').length === 0);
  assert.equal((document.activeElement as HTMLElement).dataset['id'], 'm2');
});

on('the announcer is hidden without a style attribute in its HTML', async (t) => {
  const it = app(t, <Sayer />);
  await it.sees('the region', () => it.all('[role=status]').length === 1);
  assert.equal(it.all('[role=status]')[0]!.parentElement!.style.position, 'absolute');
});

function Sayer(): ReactNode {
  const say = useAnnounce();
  return <button onClick={() => say('done')}>say</button>;
}

on('the same text twice is said twice', async (t) => {
  const it = app(t, <Sayer />);
  await it.sees('the button', () => it.all('button').length === 1);
  it.click('say');
  await it.sees('it is said', () => it.all('[role=status]')[0]!.textContent === 'done');
  it.click('say');
  await it.sees('it is said again', () => it.all('[role=status]')[0]!.textContent === 'done\u00a0');
});

on('the banner tells why there is no connection, with a button that connects', async (t) => {
  const it = app(t, <StatusBanner />);
  await it.sees('connected', () => it.server.sockets[0]?.sent.length === 1);
  await pass(10);
  assert.equal(it.all('.sw-banner').length, 0);
  // A final code, after which nothing is tried: the times are tested with the values.
  it.server.sockets[0]!.lost(4506, 'origin');
  await it.sees('the cause', () => it.all('[data-view=card]').length === 1);
  it.click('Connect now');
  await it.sees('that it is back', () => it.text().includes('Everything works again.'));
});
