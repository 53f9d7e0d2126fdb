// The outbox that survives a reload. What keeps it is loaded later; messages that are written before that wait for it.

import type { OutboxKeeper, OutboxMaker } from 'seawall-client';
import { load, loaded } from './load.ts';

export const outbox: OutboxMaker = (owner) => {
  let keeper: OutboxKeeper | undefined;
  let isOver = false;
  const made = loaded().then(({ durable }) => {
    if (!isOver) keeper = durable()(owner);
  });
  /** Over once the keeper is here, or the attempts to load it failed: messages are then in memory, as without storage. */
  let ready: Promise<void> | undefined;
  return {
    async save(entry) {
      await (ready ??= Promise.race([made, load().then(() => { if (!keeper) owner.opened(false); })]));
      await keeper?.save(entry);
    },
    forget: (key) => void made.then(() => keeper?.forget(key)),
    look: () => keeper?.look(),
    close() {
      isOver = true;
      keeper?.close();
    },
  };
};
