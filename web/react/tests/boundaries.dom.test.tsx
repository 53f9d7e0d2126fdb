/** The boundaries on each runtime: the ladder with real components. Retries wait for a few milliseconds here; the times are tested with the ladder. */

import { logged, pass, runtime, show, type Shown } from './dom.js';
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { Component, StrictMode, useState, type ReactNode } from 'react';
import { AppBoundary, ChatBoundary, createKit, MessageBoundary, rootOptions, ThreadBoundary, type Kit, type KitOptions } from '../src/index.js';

const QUICK = { message: { retryMs: 5 }, thread: { retryMs: 10 }, chat: { retryMs: 15 } };
const kitOf = (options: KitOptions = {}) => createKit({ policy: QUICK, ...options });

/** The messages that throw, and the renders of each. */
class World {
  readonly bad = new Set<string>();
  readonly renders = new Map<string, number>();
  throws = (id: string): void => {
    this.renders.set(id, (this.renders.get(id) ?? 0) + 1);
    if (this.bad.has(id)) throw new TypeError(`message ${[...id].map((one) => one.charCodeAt(0))} has no author`);
  };
}

function Message({ id, world }: { readonly id: string; readonly world: World }): ReactNode {
  world.throws(id);
  return <b>{`drawn ${id}`}</b>;
}

interface Props {
  readonly world: World;
  readonly ids: readonly string[];
  readonly thread?: string;
}

function Thread({ world, ids, thread = 'lobby' }: Props): ReactNode {
  return (
    <ThreadBoundary name={thread} plain={ids.map((id) => ({ id, user: 'ann', data: { text: `plain ${id}` } }))}>
      <Broken id={thread} world={world} />
      {ids.map((id) => <MessageBoundary key={id} name={id} text={`text ${id}`}><Message id={id} world={world} /></MessageBoundary>)}
    </ThreadBoundary>
  );
}

/** Throws if `world` says so, and draws nothing else. */
function Broken({ id, world }: { readonly id: string; readonly world: World }): ReactNode {
  world.throws(id);
  return null;
}

function Draft(): ReactNode {
  const [text, setText] = useState('');
  return <input value={text} onInput={(event) => setText(event.currentTarget.value)} onChange={() => {}} />;
}

function App({ world, ids, kit }: Props & { readonly kit: ReturnType<typeof createKit> }): ReactNode {
  return (
    <StrictMode>
      <AppBoundary kit={kit}><ChatBoundary name="chat"><Broken id="chat" world={world} /><Thread world={world} ids={ids} /><Draft /></ChatBoundary></AppBoundary>
    </StrictMode>
  );
}

/** Waits until nothing has been rendered for some time. */
async function settled({ renders }: World): Promise<void> {
  const count = () => [...renders.values()].reduce((sum, count) => sum + count, 0);
  for (let [turn, quiet, last] = [0, 0, -1]; quiet < 4; turn += 1) {
    assert.ok(turn < 500, 'it does not come to rest');
    await pass(10);
    quiet = count() === last ? quiet + 1 : 0;
    last = count();
  }
}

/** The errors that were counted. */
const errors = (kit: Kit) => kit.errors.value.groups.reduce((sum, { count }) => sum + count, 0);

const write = ({ all }: Shown, text: string) => {
  const input = all('input')[0] as HTMLInputElement;
  // React tracks the value of the element, so the setter of the class is used.
  Object.getOwnPropertyDescriptor(Object.getPrototypeOf(input), 'value')!.set!.call(input, text);
  input.dispatchEvent(new Event('input', { bubbles: true }));
};

const on = (name: string, run: (t: TestContext) => Promise<void>, skip: string | false = false) => test(`${runtime}: ${name}`, { skip }, run);

on('a message that cannot be rendered is shown as its text, and the others are drawn', async (t) => {
  const [world, kit] = [new World(), kitOf()];
  world.bad.add('b');
  const it = show(t, <App world={world} ids={['a', 'b', 'c']} kit={kit} />);
  await it.sees('the text', () => it.text().includes('text b'));
  assert.ok(it.text().includes('drawn a') && it.text().includes('drawn c'));
  assert.ok(!it.text().includes('drawn b'));
  await it.sees('the reference', () => it.text().includes(`Reference: ${kit.errors.value.groups[0]!.fingerprint}`));
  const [group] = kit.errors.value.groups;
  assert.equal(group!.level, 'message');
  assert.match(group!.component, runtime === 'compat' ? /^/ : /Message/);
  assert.ok(!JSON.stringify(kit.errors.value).includes('text b'), 'no text of a message is in a report');
});

on('the automatic retry draws a message that recovers', async (t) => {
  const [world, kit] = [new World(), kitOf({ policy: { ...QUICK, message: { retryMs: 200 } } })];
  world.bad.add('b');
  const it = show(t, <App world={world} ids={['a', 'b']} kit={kit} />);
  await it.sees('the text', () => it.text().includes('text b'));
  world.bad.clear();
  await it.sees('the message', () => it.text().includes('drawn b'));
});

on('a person can show a message again three times, and an edit of its text shows it too', async (t) => {
  const [world, kit] = [new World(), kitOf()];
  world.bad.add('b');
  const text = (text: string) => <ThreadBoundary plain={[]} kit={kit}><MessageBoundary name="b" text={text}><Message id="b" world={world} /></MessageBoundary></ThreadBoundary>;
  const it = show(t, text('text b'));
  await it.sees('the automatic retry', () => errors(kit) === 2 && it.text().includes('text b'));
  for (let count = 0; count < 3; count += 1) {
    it.click('Show again');
    await it.sees('another failure', () => errors(kit) === count + 3 && it.text().includes('text b'));
  }
  await it.sees('no button', () => !it.text().includes('Show again'));
  world.bad.clear();
  it.draw(text('edited'));
  await it.sees('the message', () => it.text().includes('drawn b'));
});

on('five bad messages turn their thread into plain text, the draft stays, and they are one group', async (t) => {
  const reported: unknown[] = [];
  const [world, kit] = [new World(), kitOf({ onError: (error) => reported.push(error) })];
  const ids = ['a', 'b', 'c', 'd', 'e', 'f'];
  const it = show(t, <App world={world} ids={ids} kit={kit} />);
  await it.sees('the messages', () => it.text().includes('drawn f'));
  write(it, 'unsent');
  for (const id of ids.slice(1)) world.bad.add(id);
  it.draw(<App world={world} ids={[...ids]} kit={kit} />);
  await it.sees('the plain thread', () => ids.every((id) => it.text().includes(`ann: plain ${id}`)));
  await settled(world);
  assert.match(it.text(), /^The messages.*ann: plain a/);
  assert.equal((it.all('input')[0] as HTMLInputElement).value, 'unsent');
  const { groups } = kit.errors.value;
  assert.deepEqual(groups.map(({ level, name }) => [level, name]), [['thread', 'TypeError']]);
  assert.equal(new Set(reported).size, reported.length, 'each error once');
  assert.equal(groups[0]!.count, reported.length);
  world.bad.clear();
  it.all('button').find(({ textContent }) => textContent === 'Try again')!.focus();
  it.click('Try again');
  await it.sees('the messages', () => it.text().includes('drawn f'));
  assert.equal(document.activeElement!.textContent, 'drawn a', 'the focus is where the button was');
});

on('a thread that fails again and again takes its chat, and the chat the app', async (t) => {
  const [world, kit] = [new World(), kitOf()];
  world.bad.add('lobby');
  const it = show(t, <App world={world} ids={['a']} kit={kit} />);
  await it.sees('the automatic retry', () => errors(kit) === 2 && it.text().includes('ann: plain a'));
  it.click('Try again');
  await it.sees('the card, and its automatic retry', () => errors(kit) === 4 && it.text().includes('The chat cannot be shown.'));
  it.click('Try again');
  await it.sees('the page', () => it.text().includes('This page cannot be shown.'));
  assert.equal(it.all('button').some(({ textContent }) => textContent === 'Try again'), false);
  assert.deepEqual(kit.errors.value.groups.map(({ level }) => level), ['app']);
});

on('two threads take their chat', async (t) => {
  const [world, kit] = [new World(), kitOf()];
  for (const id of ['one', 'two']) world.bad.add(id);
  const it = show(t, <ChatBoundary kit={kit}><Thread world={world} ids={[]} thread="one" /><Thread world={world} ids={[]} thread="two" /></ChatBoundary>);
  await it.sees('the card', () => it.text().includes('The chat cannot be shown.'));
});

on('a boundary that is mounted again remembers, and another resetKey draws its content', async (t) => {
  const [world, kit] = [new World(), kitOf()];
  world.bad.add('b');
  const message = (key: string, resetKey: string) => (
    <ThreadBoundary plain={[]} kit={kit} key={key} name="lobby"><MessageBoundary name="b" text="text b" resetKey={resetKey}><Message id="b" world={world} /></MessageBoundary></ThreadBoundary>
  );
  const it = show(t, message('1', ''));
  await it.sees('the automatic retry', () => errors(kit) === 2 && it.text().includes('text b'));
  it.draw(message('2', ''));
  await it.sees('another failure', () => errors(kit) === 3);
  await pass(60);
  assert.equal(errors(kit), 3, 'no automatic retry after it was mounted again');
  world.bad.clear();
  it.draw(message('2', 'other'));
  await it.sees('the message', () => it.text().includes('drawn b'));
});

on('a text that is thrown is counted once on its way up, and the app may draw its own fallback', async (t) => {
  let calls = 0;
  const kit = kitOf({ onError: () => { calls += 1; }, policy: { message: { failures: 1 }, thread: { failures: 1 }, chat: { autoRetries: 0 } } });
  function Thrower(): ReactNode { throw 'only a text'; }
  const it = show(t, (
    <ChatBoundary kit={kit} fallback={({ error, reference }) => <i>{`${error.message} ${reference}`}</i>}>
      <ThreadBoundary plain={[]}><MessageBoundary text="x"><Thrower /></MessageBoundary></ThreadBoundary>
    </ChatBoundary>
  ));
  await it.sees('the own fallback', () => /only a text [0-9a-f]{8}$/.test(it.text()));
  const [group] = kit.errors.value.groups;
  assert.deepEqual([kit.errors.value.groups.length, group!.level, group!.count], [1, 'chat', calls]);
});

on('the root counts errors that other boundaries catch, and still logs', async (t) => {
  const kit = kitOf();
  const world = new World();
  world.bad.add('a');
  logged.length = 0;
  const it = show(t, <Thread world={world} ids={['a']} />, rootOptions(kit));
  await it.sees('the text', () => it.text().includes('text a'));
  assert.deepEqual(kit.errors.value.groups, [], 'the boundary counts in its own kit');
  assert.ok(logged.some(([error]) => error instanceof TypeError));
  const foreign = show(t, <Foreign><Message id="a" world={world} /></Foreign>, rootOptions(kit));
  await foreign.sees('the fallback of the app', () => foreign.text() === 'foreign');
  assert.deepEqual(kit.errors.value.groups.map(({ level, count }) => [level, count]), [['message', 1]]);
}, runtime !== 'react-19' && 'only React 19 reports caught errors');

/** A boundary of the app. */
class Foreign extends Component<{ readonly children: ReactNode }, { readonly failed: boolean }> {
  override state = { failed: false };
  static getDerivedStateFromError = () => ({ failed: true });
  override render = () => (this.state.failed ? 'foreign' : this.props.children);
}

on('whatever throws when, nothing loops, the draft outside of the thread stays, and each error is reported once', async (t) => {
  const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
  const steps = fc.array(fc.subarray(ids), { minLength: 1, maxLength: 4 });
  await fc.assert(fc.asyncProperty(steps, async (all) => {
    const reported: unknown[] = [];
    const [world, kit] = [new World(), kitOf({ onError: (error) => reported.push(error), policy: { message: { retryMs: 1 }, thread: { retryMs: 1, failures: Infinity } } })];
    const it = show(t, <App world={world} ids={ids} kit={kit} />);
    await it.sees('the messages', () => it.text().includes('drawn g'));
    write(it, 'unsent');
    for (const bad of all) {
      world.bad.clear();
      for (const id of bad) world.bad.add(id);
      world.renders.clear();
      it.draw(<App world={world} ids={[...ids]} kit={kit} />);
      await settled(world);
      // Strict mode renders twice, and React once more before it gives up: for the change, and for the retry of message and thread.
      for (const [id, count] of world.renders) assert.ok(count <= 4 * 3, `${id} was rendered ${count} times`);
      assert.equal((it.all('input')[0] as HTMLInputElement).value, 'unsent');
      for (const id of ids) assert.ok(/drawn|text|plain/.test(it.text()) && it.text().includes(` ${id}`), `${id} is readable`);
    }
    assert.equal(new Set(reported).size, reported.length);
    assert.equal(errors(kit), reported.length);
    it.end();
  }), { numRuns: 5, includeErrorInReport: true, endOnFailure: true });
});
