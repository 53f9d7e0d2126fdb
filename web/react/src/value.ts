import { useSyncExternalStore } from 'react';
import type { Observable } from 'seawall-client';

/** Follows an observable. `server` is its value while a page is rendered on a server and taken over by the browser. */
export function useValue<T>(observable: Observable<T>, server?: T): T {
  return useSyncExternalStore(observable.subscribe, () => observable.value, () => server ?? observable.value);
}
