/** The small parts that all pages share. */

import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { call } from './api.ts';
import { clock, lasting } from './format.ts';

const SIGNS: Record<string, [string, string]> = {
  ok: ['●', 'good'], alive: ['●', 'good'], kept: ['●', 'good'], closed: ['●', 'good'],
  degraded: ['◐', 'wait'], draining: ['◐', 'wait'], low: ['◐', 'wait'], leaking: ['▲', 'wait'], warning: ['▲', 'wait'], half_open: ['◐', 'wait'],
  down: ['■', 'bad'], burning: ['■', 'bad'], spent: ['■', 'bad'], critical: ['■', 'bad'], open: ['■', 'bad'],
};

const WORDS: Record<string, string> = { no_events: 'no events', half_open: 'half open' };

/** A state: a sign and a word, so that no colour is needed to read it. */
export function State({ of, children }: { of: string; children?: ComponentChildren }) {
  const [sign, tone] = SIGNS[of] ?? ['○', 'none'];
  return <span class={`state ${tone}`}><span aria-hidden="true">{sign}</span> {children ?? WORDS[of] ?? of}</span>;
}

/** A time before now, with the exact one as a title. */
export function Ago({ ms, now }: { ms: number; now: number }) {
  return <time title={clock(ms)} dateTime={new Date(ms).toISOString()}>{lasting(now - ms)} ago</time>;
}

export function Card({ title, aside, children, wide }: { title: string; aside?: ComponentChildren; children: ComponentChildren; wide?: boolean }) {
  return (
    <section class={wide ? 'card wide' : 'card'}>
      <header><h2>{title}</h2>{aside !== undefined && <span class="quiet">{aside}</span>}</header>
      {children}
    </section>
  );
}

export function Figure({ label, value, about, children }: { label: string; value: ComponentChildren; about?: ComponentChildren; children?: ComponentChildren }) {
  return <div class="card figure"><h2>{label}</h2><p class="value">{value}</p>{about !== undefined && <p class="quiet">{about}</p>}{children}</div>;
}

/** A bar from 0 to 1. A negative budget is a full bar in red. */
export function Bar({ share, tone = 'good' }: { share: number; tone?: 'good' | 'wait' | 'bad' }) {
  const width = share < 0 ? 100 : Math.max(0, Math.min(1, share)) * 100;
  return <span class="bar" aria-hidden="true"><span class={share < 0 ? 'bad' : tone} style={{ width: `${width}%` }} /></span>;
}

export interface Column<T> { title: string; cell: (row: T) => ComponentChildren; isNumber?: boolean }

/** A table that becomes cards on a narrow screen. */
export function Table<T>({ label, columns, rows, id, empty, dim }: { label: string; columns: Column<T>[]; rows: T[]; id: (row: T) => string | number; empty: string; dim?: (row: T) => boolean }) {
  if (rows.length === 0) return <p class="empty">{empty}</p>;
  return (
    <div class="scroll">
      <table role="table" aria-label={label}>
        <thead role="rowgroup"><tr role="row">{columns.map((column) => <th key={column.title} role="columnheader" scope="col" class={column.isNumber ? 'number' : undefined}>{column.title}</th>)}</tr></thead>
        <tbody role="rowgroup">
          {rows.map((row) => (
            <tr key={id(row)} role="row" class={dim?.(row) ? 'dim' : undefined}>
              {columns.map((column) => <td key={column.title} role="cell" data-label={column.title} class={column.isNumber ? 'number' : undefined}><div>{column.cell(row)}</div></td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Asks for a path, and again whenever `beat` changes; the last answer stays meanwhile. One request at a time. */
export function useAnswer<T>(path: string, beat: number, load: (path: string) => Promise<T> = (path) => call('GET', path)): { answer: T | undefined; fault: string | undefined } {
  const [held, setHeld] = useState<{ path: string; answer?: T; fault?: string }>({ path });
  const isAsking = useRef('');
  const wanted = useRef(path);
  wanted.current = path;
  useEffect(() => {
    if (isAsking.current === path) return;
    isAsking.current = path;
    // An answer for a path that is no longer wanted must not replace the one that is.
    const isWanted = () => wanted.current === path;
    load(path)
      .then((answer) => isWanted() && setHeld({ path, answer }))
      .catch((error: Error) => isWanted() && setHeld((old) => (old.path === path ? { ...old, fault: error.message } : { path, fault: error.message })))
      .finally(() => {
        if (isAsking.current === path) isAsking.current = '';
      });
  }, [path, beat]);
  return held.path === path ? { answer: held.answer, fault: held.fault } : { answer: undefined, fault: undefined };
}

export const Fault = ({ text }: { text: string | undefined }) => (text === undefined ? null : <p class="fault" role="alert">{text}</p>);

export interface Order { title: string; text: ComponentChildren; button: string; typed?: string; act: (form: FormData) => Promise<unknown>; fields?: ComponentChildren }

/** A dialog before an action. The focus is on Cancel, and a name must be typed if one is given. */
export function Confirm({ order, close }: { order: Order; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const cancel = useRef<HTMLButtonElement>(null);
  const [typed, setTyped] = useState('');
  const [fault, setFault] = useState<string>();
  const [isBusy, setIsBusy] = useState(false);
  useEffect(() => {
    dialog.current?.showModal();
    cancel.current?.focus();
  }, []);
  const submit = async (event: SubmitEvent & { currentTarget: HTMLFormElement }) => {
    event.preventDefault();
    setIsBusy(true);
    try {
      await order.act(new FormData(event.currentTarget));
      close();
    } catch (error) {
      setFault((error as Error).message);
      setIsBusy(false);
    }
  };
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="order-title">
      <form onSubmit={submit}>
        <h2 id="order-title">{order.title}</h2>
        <div class="prose">{order.text}</div>
        {order.fields}
        {order.typed !== undefined && (
          <label class="field">Type <b>{order.typed}</b> to confirm
            <input name="typed" autoComplete="off" spellcheck={false} value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
          </label>
        )}
        <Fault text={fault} />
        <p class="buttons">
          <button ref={cancel} type="button" onClick={close}>Cancel</button>
          <button type="submit" class="danger" disabled={isBusy || (order.typed !== undefined && typed !== order.typed)}>{order.button}</button>
        </p>
      </form>
    </dialog>
  );
}
