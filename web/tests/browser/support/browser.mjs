// One Chromium per test file, and helpers that read and use the page as a person does.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { until } from './until.mjs';

const CHROMIUM = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
/** The default timeout, long enough for a busy machine. */
export const SOON_MS = 20_000;

let browser;

function settings() {
  assert.ok(CHROMIUM, 'Chromium not found: run apt-get install chromium, or set CHROMIUM to its path');
  // A name that is this machine is no secure origin, unlike its addresses.
  const args = ['--disable-gpu', '--disable-dev-shm-usage', '--host-resolver-rules=MAP *.test 127.0.0.1'];
  // Chromium's sandbox does not work for root.
  if (process.getuid?.() === 0) args.push('--no-sandbox');
  return { executablePath: CHROMIUM, args };
}

/** Starts Chromium. Call it in `before`, and `close` in `after`. */
export async function open() {
  browser = await chromium.launch(settings());
}

/** Starts another Chromium, whose storage is in a folder. Its end ends the browser. */
export const profile = (folder) => chromium.launchPersistentContext(folder, settings());

/** The exceptions that no page caught, of all tabs: a test that was late does not report what its own tab found. */
const uncaught = [];

export async function close() {
  await browser.close();
  assert.deepEqual(uncaught, []);
}

/** Opens a separate browser profile, whose tabs share storage. */
export async function person(t, options = {}) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  return context;
}

/** Saves a screenshot for review if SEAWALL_PICTURES names a folder. */
export async function picture(page, name) {
  const folder = process.env.SEAWALL_PICTURES;
  if (folder === undefined) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
}

/** Runs in the page: returns the outbox entries in IndexedDB, and creates no database where there is none. */
export const stored = () => new Promise((resolve, reject) => {
  const opening = indexedDB.open('seawall');
  opening.onupgradeneeded = () => opening.transaction.abort();
  opening.onerror = () => resolve([]);
  opening.onsuccess = () => {
    const all = opening.result.transaction('entries').objectStore('entries').getAll();
    all.onerror = () => reject(all.error);
    all.onsuccess = () => {
      opening.result.close();
      resolve(all.result);
    };
  };
});

/** The page in a tab. Errors of the page or in the browser's console fail the test. */
export class Tab {
  /** Errors in the browser's log that are no bug: at first the failed connections, which these tests cause on purpose. */
  #expected;

  static async open(t, context, gateway, hash = '') {
    const tab = new Tab();
    tab.page = await context.newPage();
    tab.errors = [];
    tab.#expected = [/WebSocket connection|net::ERR_/];
    tab.page.on('pageerror', (error) => {
      uncaught.push(String(error.stack ?? error));
      tab.errors.push(uncaught.at(-1));
    });
    tab.page.on('console', (message) => {
      const text = message.text();
      if (message.type() === 'error' && !tab.#expected.some((one) => one.test(text))) tab.errors.push(text);
    });
    t.after(() => assert.deepEqual(tab.errors, []));
    await tab.page.goto(`${gateway.url}/${hash}`);
    return tab;
  }

  /** From now on, and for what was logged before: such a line is no error. */
  expect(pattern) {
    this.#expected.push(pattern);
    this.errors = this.errors.filter((text) => !pattern.test(text));
  }

  /** Waits until `holds` is true for the result of `read`. A timeout reports the text of the page, or its errors, which are no delay. */
  async sees(what, read, holds, ms = SOON_MS) {
    return until(what, ms, async () => {
      const value = await read();
      return holds(value) ? { value } : undefined;
    }, async () => {
      assert.deepEqual(this.errors, [], what);
      return `the page shows:\n${await this.shown()}`;
    }).then(({ value }) => value);
  }

  /** Returns the whole text of the page. */
  shown = () => this.page.evaluate(() => document.body.innerText).catch((error) => String(error));

  stateText = async () => (await this.page.locator('#state').getAttribute('title')) ?? '';

  async state(pattern, ms) {
    return this.sees(`the state is ${pattern}`, this.stateText, (text) => pattern.test(text), ms);
  }

  /** Starts recording every state of the connection, however short. */
  watch = () => this.page.evaluate(() => {
    const state = document.getElementById('state');
    const look = () => window.seen.push({ state: state.dataset.state, text: state.title });
    window.seen = [];
    look();
    new MutationObserver(look).observe(state, { attributes: true, childList: true, characterData: true, subtree: true });
  });

  /** Returns the states recorded since `watch`. */
  seen = () => this.page.evaluate(() => window.seen);

  /** Returns the rows from top to bottom: `{text, state, progress, author}` for messages, `{notice}` for notices. */
  lines = () => this.page.locator('#log .sw-row').evaluateAll((all) => all.map((line) => {
    const message = line.querySelector('.message');
    if (message === null) return { notice: line.innerText.trim() };
    const state = ['failed', 'waiting'].find((name) => message.classList.contains(name)) ?? 'sent';
    return {
      text: message.querySelector('.text, .sw-answer-text').innerText,
      state,
      progress: message.querySelector('.progress')?.textContent ?? '',
      author: message.querySelector('.author').textContent,
    };
  }));

  texts = async () => (await this.lines()).filter((line) => line.text !== undefined).map((line) => line.text);

  /** Waits until the log has exactly these messages in this order, all sent. */
  async reads(texts, ms) {
    const wanted = JSON.stringify(texts);
    await this.sees(`all sent: ${wanted}`, this.lines, (lines) => {
      const messages = lines.filter((line) => line.text !== undefined);
      return JSON.stringify(messages.map((line) => line.text)) === wanted
        && messages.every((line) => line.state === 'sent' && line.progress === '');
    }, ms);
  }

  async line(text, holds, ms) {
    const found = (lines) => lines.find((line) => line.text === text);
    return found(await this.sees(`the message "${text}" is as expected`, this.lines, (lines) => {
      const line = found(lines);
      return line !== undefined && holds(line);
    }, ms));
  }

  /** Waits until the page has its second file. What a link cuts before that is in memory only. */
  async isWhole() {
    await this.sees('the styles of the second file', () => this.page.evaluate(() => document.querySelector('link[href*="/later-"]')?.sheet != null), Boolean);
    await this.page.evaluate(() => import(document.documentElement.dataset.later));
  }

  /** Waits until the effects of what the page shows have run: they come after the next frame, and may show more that has effects. */
  settled = () => this.page.evaluate(async () => {
    for (let times = 0; times < 2; times += 1) await new Promise((next) => requestAnimationFrame(() => setTimeout(next)));
  });

  /** Waits until an empty channel is subscribed: what comes from then on is new, and no history. */
  async isLive() {
    await this.sees('the beginning of the channel', this.shown, (text) => text.includes('No messages yet.'));
  }

  /** Waits until the address has no token. */
  async hidesToken() {
    await this.sees('an address without a token', () => this.page.url(), (url) => !url.includes('token'));
  }

  /** Starts recording whether the page shows this text, however short. `recorded` waits for that. */
  record = (text) => this.page.evaluate((text) => {
    window.isRecorded = false;
    new MutationObserver(() => { window.isRecorded ||= document.body.innerText.includes(text); }).observe(document.body, { childList: true, characterData: true, subtree: true });
  }, text);

  async recorded(what) {
    await this.sees(what, () => this.page.evaluate(() => window.isRecorded), Boolean);
  }

  /** Waits until this browser's storage has the message: from then on it survives the end of the page, however it ends. */
  async keeps(text) {
    await this.sees(`storage has "${text}"`, () => this.page.evaluate(stored), (entries) => entries.some(({ json }) => JSON.parse(json).text === text));
  }

  async say(text) {
    await this.page.fill('#draft', text);
    await this.page.press('#draft', 'Enter');
  }

  press(text, button) {
    return this.page.locator('#log .sw-row', { hasText: text }).getByRole('button', { name: button }).click();
  }

  /** Opens a channel with the keyboard. */
  async enter(channel) {
    await this.page.keyboard.press('Control+k');
    await this.page.fill('#channel', channel);
    await this.page.press('#channel', 'Enter');
  }

  /** Changes the name or the token in the dialog. */
  async become({ name, token }) {
    await this.page.click('#more');
    if (name !== undefined) await this.page.fill('#name', name);
    if (token !== undefined) await this.page.fill('#token', token);
    await this.page.getByRole('button', { name: 'Save' }).click();
  }

  /** Saves a screenshot for review if SEAWALL_PICTURES names a folder. */
  picture(name) {
    return picture(this.page, name);
  }
}
