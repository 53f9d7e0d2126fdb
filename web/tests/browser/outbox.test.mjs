// Written messages are never lost, doubled or hidden, across reloads, lost networks and closed tabs.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { close, open, person, Tab } from './support/browser.mjs';
import { Gateway } from './support/gateway.mjs';
import { Link } from './support/link.mjs';
import { Peer } from './support/peer.mjs';
import { SECRET, token } from './support/token.mjs';

before(open);
after(close);

const texts = (publications) => publications.map((publication) => publication.data.text);

async function storedOnce(t, gateway, expected, channel = 'lobby') {
  const peer = await Peer.connect(t, gateway);
  assert.deepEqual(texts(await peer.stored(channel)), expected);
}

test('a reload before the reply neither loses nor doubles a message', async (t) => {
  const gateway = await Gateway.start(t);
  const link = await Link.open(t, gateway);
  const tab = await Tab.open(t, await person(t), link);
  await tab.state(/online/);
  await tab.say('before');
  await tab.reads(['before']);
  link.hold('down');
  await tab.say('under way');
  await tab.line('under way', (line) => line.state === 'waiting');
  const peer = await Peer.connect(t, gateway);
  await tab.sees('the message is stored, but the tab has no reply', async () => texts(await peer.stored('lobby')), (all) => all.length === 2);
  await tab.say('typed after it');
  await tab.line('typed after it', (line) => line.state === 'waiting');
  await tab.keeps('typed after it');
  const name = await tab.page.locator('#me bdi').innerText();
  await tab.page.reload();
  await tab.reads(['before', 'under way', 'typed after it']);
  assert.equal(await tab.page.locator('#me bdi').innerText(), name, 'the name is kept');
  await storedOnce(t, gateway, ['before', 'under way', 'typed after it']);
});

test('a message written offline is shown as waiting and sent automatically', async (t) => {
  const gateway = await Gateway.start(t);
  const link = await Link.open(t, gateway);
  const context = await person(t);
  const tab = await Tab.open(t, context, link);
  await tab.say('first');
  await tab.reads(['first']);
  await context.setOffline(true);
  link.cut();
  await tab.state(/offline/);
  await tab.say('second');
  await tab.say('third');
  for (const text of ['second', 'third']) await tab.line(text, (line) => line.state === 'waiting' && /waiting/.test(line.progress));
  assert.deepEqual(await tab.texts(), ['first', 'second', 'third']);
  await tab.picture('offline');
  link.release();
  await context.setOffline(false);
  await tab.state(/online/);
  await tab.reads(['first', 'second', 'third']);
  await storedOnce(t, gateway, ['first', 'second', 'third']);
});

test('a message that was waiting when the page was closed is sent when it is opened again', async (t) => {
  const gateway = await Gateway.start(t);
  const link = await Link.open(t, gateway);
  const context = await person(t);
  const tab = await Tab.open(t, context, link);
  await tab.state(/online/);
  link.hold('up');
  await tab.say('never left');
  await tab.line('never left', (line) => line.state === 'waiting');
  await tab.keeps('never left');
  await tab.page.close();
  link.cut();
  link.release();
  const again = await Tab.open(t, context, link);
  await again.reads(['never left']);
  await storedOnce(t, gateway, ['never left']);
});

test('messages that a closed tab could not send are sent by another tab', async (t) => {
  const gateway = await Gateway.start(t);
  const link = await Link.open(t, gateway);
  const context = await person(t);
  const [one, two] = [await Tab.open(t, context, link), await Tab.open(t, context, link)];
  await one.state(/online/);
  await two.state(/online/);
  await two.say('from two');
  await one.reads(['from two']);
  link.hold('up');
  await one.say('from one');
  await one.line('from one', (line) => line.state === 'waiting');
  await one.keeps('from one');
  await one.page.close();
  link.release();
  await two.reads(['from two', 'from one']);
  await two.say('and on');
  await two.reads(['from two', 'from one', 'and on']);
  await storedOnce(t, gateway, ['from two', 'from one', 'and on']);
});

test('what one account wrote and could not send is neither shown to the next account nor sent as it', async (t) => {
  const gateway = await Gateway.start(t, { env: { SEAWALL_AUTH_SECRET: SECRET } });
  const link = await Link.open(t, gateway);
  const context = await person(t);
  const as = (user) => Tab.open(t, context, link, `#token=${token(user)}`);
  const ann = await as('ann');
  await ann.state(/online as ann/);
  link.hold('up');
  await ann.say('by ann');
  await ann.line('by ann', (line) => line.state === 'waiting');
  await ann.keeps('by ann');
  await ann.page.close();
  link.cut();
  link.release();
  const bob = await as('bob');
  await bob.state(/online as bob/);
  await bob.say('by bob');
  await bob.reads(['by bob']);
  await bob.page.close();
  const again = await as('ann');
  await again.reads(['by bob', 'by ann']);
  assert.deepEqual((await again.lines()).filter((line) => line.text !== undefined).map((line) => line.author.split(' · ').at(-1)), ['bob', 'ann']);
});

test('a refused message shows the reason and can be retried, edited or discarded, and a token that only reads says so', async (t) => {
  const gateway = await Gateway.start(t, { env: { SEAWALL_AUTH_SECRET: SECRET } });
  const link = await Link.open(t, gateway);
  const [all, reads] = [token('ann', ['subscribe', 'publish']), token('ann', ['subscribe'])];
  const tab = await Tab.open(t, await person(t), link, `#token=${all}`);
  await tab.state(/online as ann/);
  await tab.isWhole();
  link.cut();
  await tab.state(/reconnecting/);
  for (const text of ['one', 'two', 'three']) {
    await tab.say(text);
    await tab.keeps(text);
  }
  await tab.sees('how many wait', tab.shown, (text) => text.includes('3 waiting'));
  await tab.page.fill('#draft', 'half a thought');
  await tab.become({ token: reads });
  link.release();
  await tab.state(/online as ann/);
  for (const text of ['one', 'two', 'three']) {
    await tab.line(text, (line) => line.state === 'failed' && /^Not sent: .*publish/.test(line.progress));
  }
  await tab.sees('the rule, and how many failed', tab.shown, (text) => /You can read here, but not write\.[^]*3 failed/.test(text));
  assert.ok(await tab.page.locator('#draft').evaluate((draft) => draft.readOnly));
  assert.deepEqual(new Set((await tab.lines()).flatMap(({ author }) => author ?? [])), new Set(['ann']), 'with a token the user is the name, also while offline');
  await tab.picture('refused');
  await tab.press('two', 'Discard');
  await tab.sees('the message is gone', tab.texts, (all) => !all.includes('two'));
  await tab.press('three', 'Edit');
  await tab.sees('the edited message is only in the draft', tab.texts, (all) => !all.includes('three'));
  await tab.sees('the draft is kept as well', () => tab.page.inputValue('#draft'), (text) => text === 'three\n\nhalf a thought');
  await tab.become({ token: all });
  await tab.state(/online as ann/);
  await tab.page.getByRole('button', { name: 'Retry all' }).click();
  await tab.reads(['one']);
  await tab.say('three, better');
  await tab.reads(['one', 'three, better']);
  await tab.page.fill('#draft', 'private');
  await tab.become({ token: token('bob') });
  await tab.state(/online as bob/);
  assert.equal(await tab.page.inputValue('#draft'), '', 'the next user does not see what the last one began');
});
