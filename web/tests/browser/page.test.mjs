// The page in normal use: history, channels, edits and deletes, names, tokens, keyboard.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { close, open, person, Tab } from './support/browser.mjs';
import { Gateway } from './support/gateway.mjs';
import { Link } from './support/link.mjs';
import { Peer } from './support/peer.mjs';
import { Site } from './support/site.mjs';
import { SECRET, token } from './support/token.mjs';

const axe = readFileSync(new URL('../../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

before(open);
after(close);

const numbered = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => `message ${from + index}`);
/** Switches the rate limits off, for tests that publish more than a person writes. */
const NO_RATE_LIMITS = { SEAWALL_LIMITS_PUBLISHES_PER_S: '0', SEAWALL_LIMITS_COMMANDS_PER_S: '0' };

test('the newest messages are shown first, and scrolling up loads older ones up to the beginning', async (t) => {
  const gateway = await Gateway.start(t, { env: NO_RATE_LIMITS });
  const peer = await Peer.connect(t, gateway);
  for (const text of numbered(1, 130)) await peer.say('lobby', text);
  const tab = await Tab.open(t, await person(t), gateway);
  await tab.reads(numbered(81, 130));
  const isAtEnd = () => tab.page.evaluate(() => {
    const { scrollHeight, scrollTop, clientHeight } = document.querySelector('#log .sw-scroll');
    return scrollHeight - scrollTop - clientHeight < 5;
  });
  await tab.sees('the end is in view', isAtEnd, Boolean);
  const up = () => tab.page.locator('#log .sw-scroll').evaluate((scroll) => { scroll.scrollTop = 0; });
  await up();
  await tab.sees('one more page', tab.texts, (all) => all.length >= 100);
  await tab.sees('the rows in view stay in view', () => tab.page.evaluate(() => document.querySelector('#log .sw-scroll').scrollTop), (top) => top > 100);
  await tab.sees('all messages', async () => {
    await up();
    return tab.texts();
  }, (all) => all.length === 130);
  assert.deepEqual(await tab.texts(), numbered(1, 130));
  await tab.sees('the beginning of the channel', tab.shown, (text) => text.includes('This is where the channel begins.'));
  await peer.say('lobby', 'a new one');
  await tab.sees('the button for new messages', () => tab.page.getByRole('button', { name: '1 new message' }).isVisible(), Boolean);
  await tab.page.getByRole('button', { name: '1 new message' }).click();
  await tab.sees('the end is in view', isAtEnd, Boolean);
});

test('a notice is shown where messages are no longer stored', async (t) => {
  const gateway = await Gateway.start(t, { toml: '[retention]\npublications = 10\n', env: NO_RATE_LIMITS });
  const link = await Link.open(t, gateway);
  const tab = await Tab.open(t, await person(t), link);
  await tab.say('seen');
  await tab.reads(['seen']);
  link.cut();
  await tab.state(/reconnecting/);
  const peer = await Peer.connect(t, gateway);
  let floor = 1;
  for (let count = 1; floor <= 5 || count <= 30; count += 1) {
    assert.ok(count < 2000, 'the gateway drops old publications');
    await peer.say('lobby', `missed ${count}`);
    ({ floor } = await peer.ask('history', { channel: 'lobby', limit: 1 }));
  }
  link.release();
  await tab.page.getByRole('button', { name: 'Connect now' }).click({ timeout: 2000 }).catch(() => {});
  await tab.state(/online/);
  const lines = await tab.sees('the notice', tab.lines, (all) => all.some((line) => /messages here are no longer stored/.test(line.notice)));
  const seen = lines.findIndex(({ text }) => text === 'seen');
  assert.match(lines[seen + 1].notice, /^\d+ messages here are no longer stored\.$/);
  await tab.picture('gap');
});

test('a person switches channels without a reload, and each has its own messages', async (t) => {
  const gateway = await Gateway.start(t);
  const tab = await Tab.open(t, await person(t), gateway, '#channel=harbour');
  await tab.say('at the harbour');
  await tab.reads(['at the harbour']);
  await tab.page.keyboard.press('Control+k');
  await tab.sees('the field has the focus', () => tab.page.evaluate(() => document.activeElement.id), (id) => id === 'channel');
  await tab.page.keyboard.type('no such name!');
  await tab.page.keyboard.press('Enter');
  await tab.sees('the rule for names', tab.shown, (text) => text.includes('A channel name must be'));
  await tab.page.fill('#channel', 'lobby');
  await tab.page.press('#channel', 'Enter');
  await tab.reads([]);
  await tab.say('in the lobby');
  await tab.reads(['in the lobby']);
  await tab.sees('the address has the channel', () => tab.page.url(), (url) => url.endsWith('#channel=lobby'));
  // The other channel is above in the list.
  await tab.page.keyboard.press('Alt+ArrowUp');
  await tab.reads(['at the harbour']);
  const peer = await Peer.connect(t, gateway);
  await peer.say('lobby', 'meanwhile');
  await tab.sees('what is new elsewhere', () => tab.page.title(), (title) => title === '(1) harbour · Seawall');
  await tab.page.getByRole('button', { name: /^#?lobby/ }).click();
  await tab.reads(['in the lobby', 'meanwhile']);
  await tab.sees('the line above it', () => tab.page.locator('#log .sw-row:has(.new-line) .text').allInnerTexts(), (all) => String(all) === 'meanwhile');
  await tab.sees('it is read', () => tab.page.title(), (title) => title === 'lobby · Seawall');
});

/** Runs in the page: a deletion can be undone until `endWait`, because on a slow machine the time for that may be over before the click. */
const holdDeletions = () => {
  const { setTimeout } = window;
  window.setTimeout = (run, ms, ...rest) => {
    if (ms === 6_000) window.endWait = run;
    return setTimeout(run, ms === 6_000 ? 2 ** 30 : ms, ...rest);
  };
};

test('the author can edit and delete a message, and other people cannot', async (t) => {
  const gateway = await Gateway.start(t);
  const author = await person(t);
  await author.addInitScript(holdDeletions);
  const [mine, theirs] = [await Tab.open(t, author, gateway), await Tab.open(t, await person(t), gateway)];
  await mine.say('frist');
  await theirs.reads(['frist']);
  assert.equal(await theirs.page.getByRole('button', { name: 'Edit' }).count(), 0);
  await mine.press('frist', 'Edit');
  await mine.page.fill('#draft', 'first');
  await mine.page.press('#draft', 'Enter');
  await theirs.reads(['first']);
  await mine.reads(['first']);
  await mine.isWhole();
  await mine.press('first', 'Delete');
  await mine.press('Message deleted', 'Undo');
  await mine.reads(['first']);
  // The keys of the row do the same as its buttons.
  await mine.page.keyboard.press('ArrowUp');
  await mine.page.locator('#log .sw-row', { hasText: 'first' }).press('Delete');
  await mine.line('Message deleted', (line) => /Undo/.test(line.progress));
  assert.deepEqual(await theirs.texts(), ['first'], 'it is not sent while it can be undone');
  await mine.page.evaluate(() => window.endWait());
  await theirs.reads(['Message deleted']);
  await mine.reads(['Message deleted']);
});

test('other people see that a person is typing until the message is sent', async (t) => {
  const gateway = await Gateway.start(t);
  const [one, two] = [await Tab.open(t, await person(t), gateway), await Tab.open(t, await person(t), gateway)];
  await one.state(/online/);
  await two.say('here');
  await one.reads(['here']);
  await one.become({ name: 'ida' });
  // It is shown for seconds only, which a slow machine may miss.
  const typing = '\u2068ida\u2069 is typing…';
  await two.record(typing);
  await one.page.locator('#draft').pressSequentially('hello');
  await two.recorded('ida is typing');
  assert.ok(!(await one.shown()).includes('typing'), 'the person typing does not see it');
  await one.page.press('#draft', 'Enter');
  await two.reads(['here', 'hello']);
  await two.sees('no typing notice', two.shown, (text) => !text.includes('typing'));
  // One key, right after the message: it is not held back by the signal before it.
  await two.record(typing);
  await one.page.locator('#draft').pressSequentially('n');
  await two.recorded('ida is typing again');
});

test('a draft belongs to its channel, and survives an edit and a reload', async (t) => {
  const gateway = await Gateway.start(t);
  const tab = await Tab.open(t, await person(t), gateway);
  const draft = (text) => tab.sees(`the draft is "${text}"`, () => tab.page.inputValue('#draft'), (value) => value === text);
  await tab.say('stored');
  await tab.reads(['stored']);
  await tab.page.fill('#draft', 'unsent');
  await tab.press('stored', 'Edit');
  await draft('stored');
  await tab.page.press('#draft', 'Escape');
  await draft('unsent');
  // As fast as it can: the dialog of one channel is closed while that of the next one opens.
  for (let times = 0; times < 5; times += 1) {
    await tab.enter('harbour');
    await draft('');
    await tab.enter('lobby');
    await draft('unsent');
  }
  await tab.sees('the address has the channel', () => tab.page.url(), (url) => url.endsWith('channel=lobby'));
  await tab.page.reload();
  await draft('unsent');
  await tab.page.press('#draft', 'Enter');
  await tab.reads(['stored', 'unsent']);
  await tab.page.reload();
  await draft('');
});

test('a further message of an author has the whole width', async (t) => {
  const gateway = await Gateway.start(t);
  const tab = await Tab.open(t, await person(t), gateway);
  await tab.say('first');
  const second = `second ${'word '.repeat(80)}end`;
  await tab.say(second);
  await tab.reads(['first', second]);
  await tab.page.mouse.move(0, 0);
  const share = await tab.page.locator('#log .text').nth(1).evaluate((text) => {
    const range = document.createRange();
    range.selectNodeContents(text);
    return range.getClientRects()[0].width / text.clientWidth;
  });
  assert.ok(share > 0.9, `the first line takes ${share} of the row`);
  await tab.picture('grouped');
});

test('with auth on, the page asks for a token and says what to do if it is refused', async (t) => {
  const gateway = await Gateway.start(t, { env: { SEAWALL_AUTH_SECRET: SECRET } });
  const tab = await Tab.open(t, await person(t), gateway);
  await tab.state(/stopped: a token is required/);
  await tab.picture('token');
  await tab.say('too early');
  await tab.sees('the reason', tab.shown, (shown) => shown.includes('Enter a token first.'));
  // It becomes the draft again a moment later.
  await tab.sees('the text is kept', () => tab.page.inputValue('#draft'), (text) => text === 'too early');
  await tab.page.fill('#token', 'nonsense');
  await tab.page.getByRole('button', { name: 'Connect' }).click();
  await tab.state(/stopped: .* Enter a valid token\./);
  const again = tab.page.waitForEvent('websocket');
  await tab.page.fill('#token', 'nonsense');
  await tab.page.getByRole('button', { name: 'Connect' }).click();
  await again;
  await tab.state(/stopped: .* Enter a valid token\./);
  await tab.page.fill('#token', token('ann'));
  await tab.page.getByRole('button', { name: 'Connect' }).click();
  await tab.state(/online as ann/);
  await tab.say('hello');
  await tab.reads(['hello']);
  await tab.page.reload();
  await tab.state(/online as ann/);
  await tab.reads(['hello']);
  const guest = await Tab.open(t, await person(t), gateway, `#token=${token('bob')}`);
  await guest.state(/online as bob/);
  await guest.hidesToken();
});

test('a link does not replace the token of a tab unless the person agrees', async (t) => {
  const gateway = await Gateway.start(t, { env: { SEAWALL_AUTH_SECRET: SECRET } });
  const context = await person(t);
  const tab = await Tab.open(t, context, gateway, `#token=${token('ann')}`);
  await tab.state(/online as ann/);
  const asks = () => tab.page.locator('#offer').isVisible();

  // Another window, or a link in a message, changes the fragment of the open page.
  await tab.page.evaluate((found) => { location.hash = `channel=harbour&token=${found}`; }, token('bob'));
  await tab.sees('the question', asks, Boolean);
  await tab.hidesToken();
  assert.match(await tab.stateText(), /online as ann/);
  assert.equal(await tab.page.locator('h1 bdi').innerText(), 'harbour', 'a channel is opened without a question');
  await tab.picture('offer');
  await tab.page.getByRole('button', { name: 'Ignore' }).click();
  await tab.sees('no question', asks, (is) => !is);

  await tab.page.goto('about:blank');
  await tab.page.goto(`${gateway.url}/#token=${token('bob')}`);
  await tab.state(/online as ann/);
  await tab.sees('the question', asks, Boolean);
  await tab.page.getByRole('button', { name: 'Sign in' }).click();
  await tab.state(/online as bob/);
  await tab.hidesToken();
  assert.ok(!await asks());

  const other = await Tab.open(t, context, gateway);
  await other.state(/stopped: a token is required/);
  await other.page.evaluate((found) => { location.hash = `token=${found}`; }, token('eve'));
  await other.sees('the question, also without a token', () => other.page.locator('#offer').isVisible(), Boolean);
  assert.match(await other.stateText(), /stopped: a token is required/);
});

/** Runs in the page: what follows a frame comes late, and the page is drawn again once the channels went. */
const holdFrames = () => {
  const { setTimeout } = window;
  window.requestAnimationFrame = () => 0;
  window.setTimeout = (run, ms, ...rest) => setTimeout(run, ms === 35 ? 400 : ms, ...rest);
  let were = false;
  new MutationObserver(() => {
    const are = document.querySelector('#sidebar nav') !== null;
    if (were && !are) dispatchEvent(new KeyboardEvent('keydown', { key: 'k', ctrlKey: true }));
    were = are;
  }).observe(document, { childList: true, subtree: true });
};

test('a token that does not grant the roster opens the channels without it, however late a frame is', async (t) => {
  const gateway = await Gateway.start(t, { env: { SEAWALL_AUTH_SECRET: SECRET } });
  const context = await person(t);
  await context.addInitScript(holdFrames);
  const tab = await Tab.open(t, context, gateway, `#token=${token('ann')}`);
  // The channels were closed, and are opened again.
  await tab.page.locator('dialog').waitFor();
  await tab.page.keyboard.press('Escape');
  await tab.page.locator('dialog').waitFor({ state: 'detached' });
  await tab.isLive();
  await tab.say('hello');
  await tab.reads(['hello']);
});

test('tokens in links are ignored if the operator turned them off', async (t) => {
  const gateway = await Gateway.start(t, { toml: '[server]\nlink_tokens = false\n', env: { SEAWALL_AUTH_SECRET: SECRET } });
  const tab = await Tab.open(t, await person(t), gateway, `#token=${token('ann')}`);
  await tab.state(/stopped: a token is required/);
  await tab.sees('the reason', tab.shown, (shown) => shown.includes('Tokens in links are turned off here.'));
  await tab.hidesToken();
});

test('a window that opened the page cannot reach it', async (t) => {
  const gateway = await Gateway.start(t);
  const site = await Site.start(t, () => '<!doctype html><title>another site</title>');
  const context = await person(t);
  const page = await context.newPage();
  await page.goto(site.url);
  const opened = context.waitForEvent('page');
  await page.evaluate((url) => { window.chat = window.open(url); }, gateway.url);
  const chat = await opened;
  await chat.waitForFunction(() => document.getElementById('state')?.dataset.state === 'online');
  assert.deepEqual([await page.evaluate(() => window.chat.closed), await chat.evaluate(() => window.opener)], [true, null]);
});

test('a page of another origin imports the library from the gateway, as in docs/sdk.md', async (t) => {
  const guide = readFileSync(new URL('../../../docs/sdk.md', import.meta.url), 'utf8');
  const [, html] = /^```html\n(.*?)^```$/ms.exec(guide);
  const site = await Site.start(t, () => `<!doctype html><title>an app</title>${html.replaceAll('127.0.0.1:8080', `127.0.0.1:${gateway.port}`)}`);
  const gateway = await Gateway.start(t, { toml: `[server]\norigins = ["${site.url}"]\n` });
  const peer = await Peer.connect(t, gateway);
  await peer.say('lobby', 'hello');
  const page = await (await person(t)).newPage();
  const logged = page.waitForEvent('console', (message) => message.type() === 'log');
  await page.goto(site.url);
  assert.equal((await logged).text(), 'anonymous hello');
});

test('a message that is too long is not sent, and its text is kept', async (t) => {
  const gateway = await Gateway.start(t, { toml: '[limits]\nframe_bytes = 1024\nmessage_bytes = 1024\n' });
  const tab = await Tab.open(t, await person(t), gateway);
  await tab.state(/online/);
  const text = 'long '.repeat(400).trim();
  await tab.say(text);
  await tab.sees('the reason', tab.shown, (shown) => /bytes/.test(shown));
  await tab.sees('the text is kept', async () => [await tab.page.inputValue('#draft'), ...await tab.texts()], (texts) => texts.includes(text));
  await tab.state(/online/);
});

test('the keyboard reaches every control, the log is one stop, and each control has a name and a large target', async (t) => {
  const gateway = await Gateway.start(t);
  const tab = await Tab.open(t, await person(t, { colorScheme: 'dark', viewport: { width: 320, height: 640 }, hasTouch: true }), gateway);
  await tab.state(/online/);
  for (const text of ['first', 'second', 'third']) await tab.say(text);
  await tab.reads(['first', 'second', 'third']);
  const reached = [];
  await tab.page.locator('#menu').focus();
  for (let step = 0; step < 7; step += 1) {
    reached.push(await tab.page.evaluate(() => document.activeElement.id || document.activeElement.innerText));
    await tab.page.keyboard.press('Tab');
  }
  for (const wanted of ['menu', 'more', 'Edit', 'Delete', 'draft', 'send']) assert.ok(reached.includes(wanted), `${wanted} is reached: ${reached}`);
  assert.equal(reached.filter((one) => one === 'Edit').length, 1, `the log is one stop: ${reached}`);
  const controls = tab.page.locator('input:visible, button:visible, textarea:visible');
  const faults = await controls.evaluateAll((all) => all.filter((one) => {
    const isNamed = one.labels?.length > 0 || one.getAttribute('aria-label') || one.textContent.trim() !== '';
    return !isNamed || one.getBoundingClientRect().height < 44;
  }).map((one) => one.outerHTML));
  assert.deepEqual(faults, []);
  assert.ok(await tab.page.evaluate(() => document.getElementById('bar').offsetHeight <= 49));
  assert.ok(await tab.page.evaluate(() => document.documentElement.scrollWidth <= 320), 'nothing is wider than the screen');
  // The composer edits the last message, and Escape leaves it.
  await tab.page.locator('#draft').press('ArrowUp');
  await tab.sees('the last message in the composer', () => tab.page.inputValue('#draft'), (text) => text === 'third');
  await tab.page.locator('#draft').press('Escape');
  await tab.sees('the draft', () => tab.page.inputValue('#draft'), (text) => text === '');
  await tab.settled();
  const row = tab.page.locator('#log .sw-row', { hasText: 'third' });
  await row.focus();
  await row.press('ArrowUp');
  await tab.sees('the focus', () => tab.page.evaluate(() => document.activeElement.innerText), (text) => text.includes('second'));
  await tab.page.keyboard.press('e');
  await tab.sees('the message of the row in the composer', () => tab.page.inputValue('#draft'), (text) => text === 'second');
  await tab.sees('the focus in the composer', () => tab.page.evaluate(() => document.activeElement.id), (id) => id === 'draft');
  await tab.page.keyboard.press('Escape');
  await tab.sees('the draft again', () => tab.page.inputValue('#draft'), (text) => text === '');
  await tab.settled();
  await row.focus();
  await tab.page.keyboard.press('?');
  await tab.sees('the keys', tab.shown, (text) => text.includes('edit or delete the message in focus'));
  await tab.page.keyboard.press('Escape');
  await tab.page.locator('dialog').waitFor({ state: 'detached' });
  await tab.page.locator('#menu').click();
  await tab.sees('the channels', () => tab.page.locator('#find').isVisible(), Boolean);
  await tab.page.keyboard.press('Escape');
  await tab.sees('no channels', () => tab.page.locator('#find').isVisible(), (isVisible) => !isVisible);
});

test('markup becomes elements, right-to-left text its order, a long text is cut, and one announcer speaks', async (t) => {
  const gateway = await Gateway.start(t);
  const tab = await Tab.open(t, await person(t), gateway);
  // History is not announced.
  await tab.isLive();
  const peer = await Peer.connect(t, gateway);
  await peer.say('lobby', 'It did: https://deploys.example/4711. `make` is **green**, <b>not</b>');
  await peer.say('lobby', 'هل أنت متأكد؟ 100%');
  await peer.say('lobby', Array.from({ length: 40 }, (_, at) => `line ${at}`).join('\n'));
  await tab.sees('all', tab.texts, (all) => all.length === 3);
  const link = tab.page.locator('#log a');
  assert.deepEqual([await link.getAttribute('href'), await link.getAttribute('rel')], ['https://deploys.example/4711', 'noopener noreferrer nofollow']);
  const elements = await tab.page.locator('#log .text').first().evaluate((text) => [...text.children].map((one) => [one.localName, one.textContent]));
  assert.deepEqual(elements, [['a', 'https://deploys.example/4711'], ['code', 'make'], ['strong', 'green']]);
  assert.equal(await tab.page.locator('#log .text').nth(1).evaluate((text) => getComputedStyle(text).direction), 'rtl');
  await tab.page.fill('#draft', 'مرحبا');
  assert.equal(await tab.page.locator('#draft').evaluate((draft) => getComputedStyle(draft).direction), 'rtl');
  const height = () => tab.page.locator('#log .text').nth(2).evaluate((text) => text.clientHeight);
  const cut = await height();
  await tab.page.getByRole('button', { name: 'Show more' }).click();
  await tab.sees('the whole text', height, (now) => now > 2 * cut);
  assert.deepEqual(await tab.page.locator('[role=log]').evaluateAll((all) => all.map((log) => [log.getAttribute('aria-live'), log.localName])), [['off', 'div']]);
  await tab.sees('it is announced', () => tab.page.locator('[role=status]').innerText(), (text) => text !== '');
});

test('what arrives while the page is in the background is counted in the title and marked', async (t) => {
  const gateway = await Gateway.start(t);
  const tab = await Tab.open(t, await person(t), gateway);
  const peer = await Peer.connect(t, gateway);
  await tab.state(/online/);
  await peer.say('lobby', 'seen');
  await tab.reads(['seen']);
  // It is marked as read after it was drawn.
  await tab.settled();
  const hide = (isHidden) => tab.page.evaluate((isHidden) => {
    Object.defineProperty(document, 'hidden', { value: isHidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, isHidden);
  await hide(true);
  for (const text of ['one', 'two', 'three']) await peer.say('lobby', text);
  await tab.sees('how many', () => tab.page.title(), (title) => title === '(3) lobby · Seawall');
  await hide(false);
  await tab.sees('no number', () => tab.page.title(), (title) => title === 'lobby · Seawall');
  await tab.sees('the line above the first', () => tab.page.locator('#log .sw-row:has(.new-line) .text').allInnerTexts(), (all) => String(all) === 'one');
  // One line for each day: midnight may have passed.
  const [lines, days] = await tab.page.evaluate(() => [
    document.querySelectorAll('#log .sw-day').length, new Set([...document.querySelectorAll('#log time')].map((time) => new Date(time.dateTime).toDateString())).size,
  ]);
  assert.equal(lines, days);
});

test('axe finds nothing serious and nothing overflows, light and dark, wide and narrow', async (t) => {
  const gateway = await Gateway.start(t);
  const tab = await Tab.open(t, await person(t), gateway);
  const peer = await Peer.connect(t, gateway);
  for (const [at, [name, text]] of CONVERSATION.entries()) await peer.ask('publish', { channel: 'lobby', key: `line${at}`, data: { name, text } });
  await tab.say('On it. I’ll report back at *noon*.');
  await tab.sees('all, sent', tab.lines, (lines) => lines.filter(({ state, progress }) => state === 'sent' && progress === '').length === CONVERSATION.length + 1);
  const states = { chat: () => {}, profile: () => tab.page.click('#more'), find: () => tab.page.keyboard.press('Control+k'), keys: () => tab.page.locator('#log .sw-row').last().press('?') };
  for (const [state, show] of Object.entries(states)) {
    await show();
    if (state !== 'chat') await tab.page.locator('dialog form, dialog dl').waitFor();
    for (const colorScheme of ['light', 'dark']) {
      for (const width of [1440, 360, 320]) {
        await tab.page.setViewportSize({ width, height: width === 1440 ? 900 : 740 });
        await tab.page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        assert.ok(await tab.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${state} fits in ${width} px`);
        if (width !== 320) await tab.picture(`page-${state}-${width}-${colorScheme}`);
      }
      await tab.page.evaluate(axe);
      const { violations } = await tab.page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
      const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
      assert.deepEqual(serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), [], `${state}, ${colorScheme}`);
    }
    await tab.page.setViewportSize({ width: 1440, height: 900 });
    await tab.page.keyboard.press('Escape');
    // A dialog is closed a moment later.
    await tab.page.locator('dialog').waitFor({ state: 'detached' });
  }
});

test('the bar of a phone makes room while a person reads further up, and comes back', async (t) => {
  const gateway = await Gateway.start(t, { env: NO_RATE_LIMITS });
  const peer = await Peer.connect(t, gateway);
  for (const text of numbered(1, 40)) await peer.say('lobby', text);
  const tab = await Tab.open(t, await person(t, { viewport: { width: 360, height: 640 }, hasTouch: true }), gateway);
  await tab.reads(numbered(1, 40));
  const top = () => tab.page.locator('#bar').evaluate((bar) => bar.getBoundingClientRect().top);
  await tab.page.mouse.move(180, 320);
  const turn = (deltaY, what, holds) => tab.sees(what, async () => {
    await tab.page.mouse.wheel(0, deltaY);
    return top();
  }, holds);
  await turn(-200, 'no bar', (at) => at < 0);
  await tab.picture('phone-reading');
  await turn(50, 'the bar', (at) => at === 0);
  await turn(-200, 'no bar again', (at) => at < 0);
  await tab.page.locator('#menu').focus();
  await tab.sees('the control that has the focus', top, (at) => at === 0);
});

test('a part of the page that cannot be loaded is asked for again, says so in its place, and the chat goes on', async (t) => {
  const gateway = await Gateway.start(t);
  const context = await person(t);
  let asked = 0;
  let isThere = false;
  await context.route(/later-.*\.js/, (route) => {
    asked += 1;
    return isThere ? route.continue() : route.abort();
  });
  const tab = await Tab.open(t, context, gateway);
  await tab.say('sent all the same');
  await tab.reads(['sent all the same']);
  await tab.page.keyboard.press('Control+k');
  await tab.sees('what failed', () => tab.page.locator('dialog').innerText(), (text) => /could not be loaded/.test(text));
  assert.ok(asked >= 3, `${asked} attempts`);
  isThere = true;
  // It may have been loaded before a click: it is asked for again without one, too.
  await tab.sees('the dialog', async () => {
    if (await tab.page.locator('#channel').isVisible()) return true;
    await tab.page.locator('dialog').getByRole('button', { name: 'Try again' }).click({ timeout: 2000 }).catch(() => {});
    return false;
  }, Boolean, 60_000);
  await tab.page.fill('#channel', 'harbour');
  await tab.page.press('#channel', 'Enter');
  await tab.reads([]);
  await tab.say('at the harbour');
  await tab.reads(['at the harbour']);
});

test('a part of the page that never arrives holds no message back, and stores what still waits once it is here', async (t) => {
  const gateway = await Gateway.start(t);
  const link = await Link.open(t, gateway);
  const context = await person(t);
  const held = [];
  await context.route(/later-.*\.js/, (route) => held.push(route));
  const tab = await Tab.open(t, context, link);
  await tab.say('sent all the same');
  await tab.reads(['sent all the same'], 60_000);
  link.cut();
  await tab.state(/reconnecting/);
  await tab.sees('the cause, without the banner', () => tab.page.locator('#outage').innerText(), (text) => /Connect now/.test(text));
  await tab.say('written meanwhile');
  await tab.line('written meanwhile', (line) => /Keep this tab open/.test(line.progress));
  // The link to the gateway is cut: this comes from the gateway itself.
  await held[0].continue({ url: gateway.url + new URL(held[0].request().url()).pathname });
  await tab.keeps('written meanwhile');
  await tab.line('written meanwhile', (line) => line.state === 'waiting' && !/Keep this tab open/.test(line.progress));
  link.release();
  await tab.reads(['sent all the same', 'written meanwhile'], 60_000);
  await tab.sees('no card', () => tab.page.locator('#outage').count(), (count) => count === 0);
});

test('what is written while the link is cut in the middle of the second file is sent and stored later', async (t) => {
  const gateway = await Gateway.start(t);
  const link = await Link.open(t, gateway);
  const context = await person(t);
  let isCut = false;
  await context.route(/later-.*\.js/, (route) => {
    if (isCut) return route.continue();
    isCut = true;
    link.cut();
    return route.continue();
  });
  const tab = await Tab.open(t, context, link);
  await tab.state(/reconnecting/);
  await tab.say('written meanwhile');
  await tab.line('written meanwhile', (line) => line.state === 'waiting');
  await tab.line('written meanwhile', (line) => /Keep this tab open/.test(line.progress));
  link.release();
  await tab.reads(['written meanwhile'], 60_000);
  await tab.isWhole();
  link.hold('up');
  await tab.say('stored');
  await tab.keeps('stored');
});

/** Runs in the page: records the waits of its timers. */
const recordWaits = () => {
  const { setTimeout } = window;
  window.waits = [];
  window.setTimeout = (run, ms, ...rest) => {
    window.waits.push(ms);
    return setTimeout(run, ms, ...rest);
  };
};

test('the second file is asked for again while the connection lasts', async (t) => {
  // Hours of the page pass at once, without the pings of the gateway.
  const gateway = await Gateway.start(t, { toml: '[limits]\nping_ms = 3600000\n' });
  const link = await Link.open(t, gateway);
  const context = await person(t);
  let isThere = false;
  let asked = 0;
  await context.route(/later-.*\.js/, (route) => {
    asked += 1;
    return isThere ? route.continue() : route.abort();
  });
  await context.clock.install();
  await context.addInitScript(recordWaits);
  const tab = await Tab.open(t, context, link);
  await tab.state(/online/);
  await tab.sees('the wait after the attempts', () => tab.page.evaluate(() => window.waits.includes(60_000)), Boolean);
  assert.equal(asked, 3);
  await tab.watch();
  isThere = true;
  await tab.page.clock.fastForward(61_000);
  await tab.isWhole();
  assert.deepEqual(new Set((await tab.seen()).map(({ state }) => state)), new Set(['online']), 'by no new connection');
  link.hold('up');
  await tab.say('stored');
  await tab.keeps('stored');
});

const CONVERSATION = [
  ['Ada', 'Morning! Did the deploy go through?'],
  ['Grace', 'It did, at 08:12: https://deploys.example/4711'],
  ['Grace', 'The migration took **4 s**. If you want to check, run `seawall doctor` on either host.'],
  ['ליאת', 'מצוין, תודה רבה! האם יש עוד משהו לבדוק?'],
  ['Linus', 'One more thing: the log has this line twice.\n```\nstore connected  epoch=k3f9 head=57\n```'],
];
