/** A document for the tests of components, and helpers that wait for it. Import it first: React looks for a document when it is loaded. */

import type { TestContext } from 'node:test';
import { Window } from 'happy-dom';
import type { ReactNode } from 'react';
import { createRoot } from 'react-dom/client';
import { until } from '../../client/tests/gateway.js';

declare const RUNTIME: string;
export const runtime = RUNTIME;

const SOON = 10_000;

const page = new Window({ url: 'http://chat.example/' });
for (const name of ['window', 'document', 'navigator', 'location', 'sessionStorage', 'HTMLElement', 'HTMLIFrameElement', 'Element', 'Node', 'Event', 'requestAnimationFrame', 'cancelAnimationFrame']) {
  const value = name === 'window' ? page : (page as never as Record<string, unknown>)[name];
  Object.defineProperty(globalThis, name, { value: /AnimationFrame/.test(name) ? (value as () => void).bind(page) : value, configurable: true, writable: true });
}

/** Errors that the page would show in the browser's console. */
export const logged: unknown[][] = [];
console.error = (...args) => { logged.push(args); };

export interface Shown {
  readonly box: HTMLElement;
  readonly text: () => string;
  readonly all: (selector: string) => HTMLElement[];
  readonly click: (label: string) => void;
  readonly draw: (node: ReactNode) => void;
  readonly end: () => void;
  readonly sees: (what: string, holds: () => boolean) => Promise<void>;
}

/** Draws into a box of its own. */
export function show(t: TestContext, node: ReactNode, options?: object): Shown {
  const box = document.createElement('div');
  document.body.append(box);
  const root = createRoot(box, options as never);
  const text = () => box.textContent ?? '';
  const all = (selector: string) => [...box.querySelectorAll<HTMLElement>(selector)];
  let ended = false;
  const end = () => {
    if (!ended) root.unmount();
    ended = true;
    box.remove();
  };
  t.after(end);
  root.render(node);
  return {
    box, text, all, end,
    click: (label) => {
      const found = all('button').filter((one) => one.textContent === label);
      if (found.length === 0) throw new Error(`no button ${label} in: ${text()}`);
      found[0]!.click();
    },
    draw: (next) => root.render(next),
    sees: (what, holds) => until(what, holds, SOON).catch((error: Error) => { throw new Error(`${error.message}\n${box.innerHTML}`); }),
  };
}

/** Lets a time pass in which nothing may happen. */
export const pass = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
