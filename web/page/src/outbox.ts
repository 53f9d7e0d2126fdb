// The outbox that survives a reload. What keeps it is loaded later; messages that are written before that wait for it.

import type { KeptEntry, OutboxKeeper, OutboxMaker } from 'seawall-client';
import { later, load, loaded } from './load.ts';

export const outbox: OutboxMaker = (owner) => {
  let keeper: OutboxKeeper | undefined;
  let isOver = false;
  /** By key, the entries that were saved before the keeper was here. */
  const waiting = new Map<string, KeptEntry>();
  const made = loaded().then(({ keep }) => {
    if (isOver) return;
    let stored;
    [keeper, stored] = keep(owner, waiting.values());
    return stored;
  });
  /** Over once these are stored, or the attempts to load the keeper failed: messages are then in memory, as without storage. */
  let ready: Promise<unknown> | undefined;
  return {
    async save(entry) {
      if (keeper) return keeper.save(entry);
      waiting.set(entry.key, entry);
      await (ready ??= Promise.race([made, load().then(() => (later() ? made : owner.opened(false)))]));
    },
    forget(key) {
      waiting.delete(key);
      keeper?.forget(key);
    },
    look: () => keeper?.look(),
    close() {
      isOver = true;
      keeper?.close();
    },
  };
};
