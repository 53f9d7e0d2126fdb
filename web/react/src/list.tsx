import { memo, useContext, useEffect, useLayoutEffect, useMemo, useRef, useState, type KeyboardEvent, type ReactNode } from 'react';
import { Context } from './context.js';
import { arrived } from './rooms.js';
import { plainText } from './text.js';
import { useKit } from './use-kit.js';
import { above, below, isNewDay, lastStored, range, storedAfter, type ListItem } from './window.js';

/** Distance in pixels within which the reader is at the end. */
const NEAR_END = 60;
/** Distance in pixels from the edge of the window at which it moves. */
const NEAR_EDGE = 200;

export interface RowState {
  /** True for the one row that the Tab key reaches. Give buttons in other rows a `tabIndex` of -1. */
  readonly active: boolean;
}

export interface MessageListProps<T extends ListItem> {
  readonly items: readonly T[];
  /** Draws an item. It is drawn again if the item, its state or `version` changed, not if this function did. */
  readonly children: (item: T, state: RowState) => ReactNode;
  /** Another value draws all rows again. */
  readonly version?: unknown;
  readonly hasOlder?: boolean | undefined;
  /** True while earlier messages are being loaded. */
  readonly loading?: boolean | undefined;
  /** Loads earlier messages. */
  readonly onOlder?: (() => unknown) | undefined;
  /** Called when the reader is at the end, and at each item that arrives there. */
  readonly onEnd?: (() => unknown) | undefined;
  /** Names the list for a screen reader. */
  readonly label?: string;
  /** Shown if there are no items. */
  readonly empty?: ReactNode;
}

const useLayout = typeof document === 'undefined' ? useEffect : useLayoutEffect;

interface RowProps extends RowState {
  readonly item: ListItem;
  readonly day: string;
  readonly version: unknown;
  readonly draw: (item: never, state: RowState) => ReactNode;
}

const Row = memo(({ item, day, active, draw }: RowProps) => {
  const around = useContext(Context);
  const value = useMemo(() => ({ ...around, row: item.id }), [around, item.id]);
  return (
    <li className="sw-row" tabIndex={active ? 0 : -1} data-id={item.id}>
      {day && <div className="sw-day"><span>{day}</span></div>}
      <Context.Provider value={value}><Drawn draw={draw} item={item} active={active} /></Context.Provider>
    </li>
  );
}, (one, other) => one.item === other.item && one.day === other.day && one.active === other.active && one.version === other.version);

/** A component of its own, so that what `draw` throws is thrown in the list, where its thread's boundary is. */
function Drawn({ draw, item, active }: Pick<RowProps, 'draw' | 'item' | 'active'>): ReactNode {
  return draw(item as never, { active });
}

const dayLine = (time: number): string => new Date(time).toLocaleDateString(undefined, { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });

/** A log of messages, of which at most 150 are in the document. It follows the end while the reader is there, and else keeps its place. */
export function MessageList<T extends ListItem>(props: MessageListProps<T>): ReactNode {
  const { items, children, version, hasOlder = false, loading = false, onOlder, onEnd, empty } = props;
  const { words } = useKit();
  const { label = words.messages } = props;
  /** The item with which the window begins. Absent: the end is followed. */
  const [first, setFirst] = useState<string>();
  /** The last stored item when the reader left the end. */
  const [seen, setSeen] = useState<string>();
  const [focused, setFocused] = useState<string>();
  const scroll = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLOListElement>(null);
  const newer = useRef<HTMLButtonElement>(null);
  /** True while the focus is on a button that is about to go. */
  const leaves = useRef(false);
  /** The oldest item when earlier ones were last asked for by scrolling: a request that failed is not repeated at each render. */
  const asked = useRef<string>(undefined);
  const anchor = useRef<{ readonly row: Element; readonly top: number }>(undefined);
  /** Where the end was when it was followed last: a reader further up has left it, however much a row has grown since. */
  const pinned = useRef(0);
  const shown = range(items, first);
  const { from, to } = shown;
  const rows = items.slice(from, to);
  const last = items.at(-1);
  const active = rows.some(({ id }) => id === focused) ? focused : rows.at(-1)?.id;

  const toEnd = (): void => {
    pinned.current = 0;
    leaves.current = newer.current !== null && newer.current === document.activeElement;
    setFirst(undefined);
    setSeen(undefined);
  };
  const leave = (): void => {
    setFirst(rows[0]?.id);
    setSeen(lastStored(items));
  };
  /** Moves the window, or loads more, if the reader is near its edge. */
  const reach = (): void => {
    const box = scroll.current!;
    // An element that is not displayed has no size.
    if (box.clientHeight === 0) return;
    const isNearStart = box.scrollTop < NEAR_EDGE;
    if (isNearStart && from > 0 && first !== undefined) setFirst(above(items, shown));
    else if (isNearStart && from === 0 && hasOlder && !loading && asked.current !== items[0]?.id) {
      asked.current = items[0]?.id;
      onOlder?.();
    }
    else if (room(box) < NEAR_EDGE && to < items.length) setFirst(below(items, shown));
  };
  /** Keeps the reader's place after a change. */
  const settle = (): void => {
    const box = scroll.current!;
    const { row, top } = anchor.current ?? {};
    if (first === undefined && (box.scrollTop >= pinned.current - 1 || room(box) <= 1)) {
      box.scrollTop = box.scrollHeight;
      pinned.current = box.scrollTop;
    } else if (first === undefined && room(box) >= NEAR_END) leave();
    else if (row?.isConnected) box.scrollTop += row.getBoundingClientRect().top - top!;
    anchor.current = firstVisible(box, list.current!);
  };
  const onScroll = (): void => {
    const box = scroll.current!;
    const isAtEnd = room(box) < NEAR_END && to === items.length;
    const isUp = box.scrollTop < pinned.current - 1;
    anchor.current = firstVisible(box, list.current!);
    if (isAtEnd && first !== undefined) toEnd();
    else if (!isAtEnd && first === undefined && isUp) leave();
    else reach();
    if (first === undefined && !isUp) pinned.current = box.scrollTop;
  };
  const latest = useRef(settle);
  useLayout(() => {
    latest.current = settle;
    settle();
    reach();
    if (leaves.current && !newer.current) (list.current!.lastElementChild as HTMLElement | null)?.focus({ preventScroll: true });
    leaves.current &&= newer.current !== null;
  });
  useEffect(() => {
    // Pictures and fonts change the height of rows when they arrive, and a keyboard on the screen that of the box.
    const observer = globalThis.ResizeObserver && new ResizeObserver(() => {
      // Preact detaches elements before it ends effects.
      if (scroll.current) latest.current();
    });
    for (const one of [list.current, scroll.current]) if (one) observer?.observe(one);
    return () => observer?.disconnect();
  }, []);
  useEffect(() => { if (first === undefined) onEnd?.(); }, [first, last?.id]);
  // Writing a message is a wish to see it.
  useEffect(() => { if (last?.own && last.pending) toEnd(); }, [last?.id]);
  useSpoken(items);

  const onKeyDown = (event: KeyboardEvent<HTMLOListElement>): void => {
    const all = [...event.currentTarget.children] as HTMLElement[];
    const at = all.indexOf(event.target as HTMLElement);
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    all[to]?.focus();
  };
  const count = storedAfter(items, seen).length;
  return (
    <div className="sw-list">
      <div className="sw-scroll" ref={scroll} onScroll={onScroll} role="log" aria-live="off" aria-label={label} aria-busy={loading}>
        {hasOlder && from === 0 && <button type="button" className="sw-older" disabled={loading} onClick={() => onOlder?.()}>{words.olderMessages}</button>}
        {items.length === 0 && empty}
        <ol ref={list} onKeyDown={onKeyDown} onFocus={(event) => setFocused((event.target as Element).closest('.sw-row')?.getAttribute('data-id') ?? undefined)}>
          {rows.map((item, index) => {
            const day = isNewDay(item, items[from + index - 1]) ? dayLine(item.time!) : '';
            return <Row key={item.id} item={item} day={day} active={item.id === active} version={version} draw={children} />;
          })}
        </ol>
      </div>
      {first !== undefined && <button type="button" className="sw-newer" ref={newer} onClick={toEnd}>↓ {count > 0 ? words.newMessages(count) : words.latest}</button>}
    </div>
  );
}

/** Returns the distance in pixels to the end. */
const room = ({ scrollHeight, scrollTop, clientHeight }: Element): number => scrollHeight - scrollTop - clientHeight;

/** Returns the first row of which a part is in view, and its place. */
function firstVisible(box: Element, list: Element): { readonly row: Element; readonly top: number } | undefined {
  const edge = box.getBoundingClientRect().top;
  const rows = list.children;
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle]!.getBoundingClientRect().bottom <= edge) low = middle + 1;
    else high = middle;
  }
  const row = rows[low];
  return row && { row, top: row.getBoundingClientRect().top };
}

/**
 * Announces messages of others that arrive while the list is shown, and messages of this user that failed. What fills an empty list is
 * old, unless its channel knows better. Times are not compared: those of messages are the gateway's, and a clock here may be wrong.
 */
function useSpoken(items: readonly ListItem[]): void {
  const kit = useKit();
  const spoken = useRef({ last: undefined as string | undefined, shown: false, failed: new Set<string>() });
  useEffect(() => {
    const it = spoken.current;
    const { last, shown } = it;
    const fresh = last === undefined ? items : storedAfter(items, last);
    it.last = lastStored(items);
    it.shown = true;
    for (const item of fresh) {
      if (shown && !item.own && item.time && !item.stream && (arrived.get(item.source ?? item) ?? last !== undefined)) kit.announce(plainText(item, kit.words));
    }
    const failed = items.filter(({ pending }) => pending?.state === 'failed');
    for (const { pending } of failed) if (!it.failed.has(pending!.key)) kit.announce(pending!.error?.message ?? '', true);
    it.failed = new Set(failed.map(({ pending }) => pending!.key));
  }, [kit, items]);
}
