// One Chromium for a file of tests, and the page as a person sees it.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { until } from './until.mjs';

const CHROMIUM = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
/** Room for a machine that does much else. */
export const SOON_MS = 20_000;

let browser;

/** For `before` of a file of tests; `after` closes it. */
export async function open() {
  assert.ok(CHROMIUM, 'there is no Chromium: apt-get install chromium, or name it in CHROMIUM');
  const args = ['--disable-gpu', '--disable-dev-shm-usage'];
  // Chromium has no sandbox for the superuser.
  if (process.getuid?.() === 0) args.push('--no-sandbox');
  browser = await chromium.launch({ executablePath: CHROMIUM, args });
}

export const close = () => browser.close();

/** A person's own browser: tabs in it share storage. */
export async function person(t, options = {}) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  return context;
}

/** The page in a tab. What the page or the browser complains of fails the test. */
export class Tab {
  static async open(t, context, gateway, hash = '') {
    const tab = new Tab();
    tab.page = await context.newPage();
    tab.complaints = [];
    tab.page.on('pageerror', (error) => tab.complaints.push(String(error.stack ?? error)));
    tab.page.on('console', (message) => {
      const text = message.text();
      // A connection that cannot be made is the browser's to say; whatever else it says is a mistake of ours.
      if (message.type() === 'error' && !/WebSocket connection|net::ERR_/.test(text)) tab.complaints.push(text);
    });
    t.after(() => assert.deepEqual(tab.complaints, []));
    await tab.page.goto(`${gateway.url}/${hash}`);
    return tab;
  }

  /** Waits until `read` gives what `holds`; says what the page showed if it does not. */
  async sees(what, read, holds, ms = SOON_MS) {
    return until(what, ms, async () => {
      const value = await read();
      return holds(value) ? { value } : undefined;
    }, async () => `the page shows:\n${await this.shown()}`).then(({ value }) => value);
  }

  /** The whole text of the page. */
  shown = () => this.page.evaluate(() => document.body.innerText).catch((error) => String(error));

  stateText = () => this.page.locator('#state').innerText();

  async state(pattern, ms) {
    return this.sees(`the state is ${pattern}`, this.stateText, (text) => pattern.test(text), ms);
  }

  /** From now on every state of the connection is kept, however short it was. */
  watch = () => this.page.evaluate(() => {
    const state = document.getElementById('state');
    const look = () => window.seen.push({ state: state.dataset.state, text: state.innerText });
    window.seen = [];
    look();
    new MutationObserver(look).observe(state, { attributes: true, childList: true, characterData: true, subtree: true });
  });

  /** The states since `watch`. */
  seen = () => this.page.evaluate(() => window.seen);

  /** The log from top to bottom: `{text, state, progress}` of messages, `{notice}` of what stands between. */
  lines = () => this.page.locator('#log > li').evaluateAll((all) => all.map((line) => {
    if (line.classList.contains('notice')) return { notice: line.innerText.trim() };
    const state = ['failed', 'waiting'].find((name) => line.classList.contains(name)) ?? 'sent';
    const progress = line.querySelector('.progress');
    return {
      text: line.querySelector('.text').innerText,
      state,
      progress: progress.hidden ? '' : progress.innerText,
      author: line.querySelector('.author').textContent,
    };
  }));

  texts = async () => (await this.lines()).filter((line) => line.text !== undefined).map((line) => line.text);

  /** Waits until the log has exactly these messages in this order, all of them sent. */
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

  async say(text) {
    await this.page.fill('#draft', text);
    await this.page.press('#draft', 'Enter');
  }

  press(text, button) {
    return this.page.locator('#log > li', { hasText: text }).getByRole('button', { name: button }).click();
  }

  /** A picture for whoever looks at the page, where SEAWALL_PICTURES names a folder. */
  async picture(name) {
    const folder = process.env.SEAWALL_PICTURES;
    if (folder === undefined) return;
    mkdirSync(folder, { recursive: true });
    await this.page.screenshot({ path: join(folder, `${name}.png`) });
  }
}
