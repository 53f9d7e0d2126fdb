// React for this page: Preact, with those names and events of React that the kit and the page use. `preact/compat` has all of them and
// three times the size; the kit is tested with that and with React.

import { createElement, options, render, type ComponentChild, type ComponentType, type VNode } from 'preact';
import { useEffect, useLayoutEffect, useState } from 'preact/hooks';

export { Component, createContext } from 'preact';
export { useCallback, useContext, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';

/** Events of focus bubble in React, and a field changes at each key. */
const EVENTS: Readonly<Record<string, string>> = { onChange: 'onInput', onFocus: 'onFocusIn', onBlur: 'onFocusOut' };

const before = options.vnode;
options.vnode = (vnode: VNode) => {
  if (typeof vnode.type === 'string') {
    const props = vnode.props as Record<string, unknown>;
    for (const name in EVENTS) {
      if (name in props) {
        props[EVENTS[name]!] = props[name];
        delete props[name];
      }
    }
  }
  before?.(vnode);
};
options.event = (event: Event) => Object.assign(event, { nativeEvent: event });

export function memo<P extends object>(type: ComponentType<P>, isSame: (one: P, other: P) => boolean): ComponentType<P> {
  return function Memo(this: { shouldComponentUpdate: (next: P) => boolean; props: P }, props: P) {
    this.shouldComponentUpdate = (next) => !isSame(this.props, next);
    return createElement(type, props);
  } as unknown as ComponentType<P>;
}

export function useSyncExternalStore<T>(subscribe: (listener: () => void) => () => void, read: () => T): T {
  const value = read();
  const [{ store }, change] = useState({ store: { value, read } });
  const look = () => { if (!Object.is(store.value, store.read())) change({ store }); };
  useLayoutEffect(() => {
    Object.assign(store, { value, read });
    look();
  }, [subscribe, value, read]);
  useEffect(() => {
    look();
    return subscribe(look);
  }, [subscribe]);
  return value;
}

export const createRoot = (node: Element): { render: (children: ComponentChild) => void } => ({ render: (children) => render(children, node) });
