// The page at `/`: one client and one open channel. Changes of either are drawn once per animation frame.

import { connect, newKey, type Client } from 'seawall-client';
import { durable } from 'seawall-client/outbox';
import * as composer from './composer.ts';
import * as header from './header.ts';
import * as log from './log.ts';
import * as memory from './memory.ts';
import { Room } from './room.ts';
import { textOf } from './timeline.ts';
import * as words from './words.ts';

const LOBBY = 'lobby';
/** The drawing interval of a hidden tab, which gets no animation frames. */
const HIDDEN_MS = 250;

const tab = newKey();
const keys = new memory.OwnKeys(() => changed());
let name = memory.name.read() || `guest-${tab.slice(-4).toLowerCase()}`;
let client: Client;
let room: Room;
let hasToken = false;

let isPending = false;

function changed(): void {
  if (isPending) return;
  isPending = true;
  if (document.hidden) setTimeout(paint, HIDDEN_MS);
  else requestAnimationFrame(paint);
}

function paint(): void {
  isPending = false;
  header.showConnection(words.connection(client.state.value, hasToken));
  header.showBanner(words.banner(client.status.value));
  composer.showTyping(room.typing(Date.now()));
  log.paint(room.rows(log.isAtEnd()), room.top(), actions);
}

/** Connects with a token, or without one if it is empty. */
function begin(token: string, channel: string): void {
  hasToken = token !== '';
  client = connect('/ws', { client: 'seawall-page/1', outbox: durable(), ...(hasToken ? { token } : {}) });
  client.state.subscribe(changed);
  client.status.subscribe(changed);
  client.outbox.subscribe((entries) => {
    entries.forEach((entry) => keys.add(entry.key));
    changed();
  });
  enter(channel);
}

function enter(channel: string): void {
  room = new Room(client, channel, keys, tab, changed, composer.showFault);
  header.showChannel(channel);
  // This also removes a token from the address, so that it does not stay in the browser's history.
  history.replaceState(null, '', `#channel=${encodeURIComponent(channel)}`);
  log.paint([], room.top(), actions);
  log.toEnd();
  changed();
}

const entryOf = (key: string) => client.outbox.value.find((entry) => entry.key === key);

const actions: log.MessageActions = {
  edit: (row) => composer.edit(room.text(row.offset), row.offset),
  remove: (row) => room.remove(row.offset),
  retry: (one) => client.outbox.retry(one.key),
  editFailed(one) {
    const entry = entryOf(one.key);
    if (entry === undefined || !client.outbox.discard(one.key)) return;
    composer.edit(textOf(entry.data), entry.edits);
  },
  discard: (one) => void client.outbox.discard(one.key),
};

function listen(): void {
  header.listen({
    open(channel) {
      if (!words.isChannelName(channel)) return 'A channel name must be 1 to 128 letters, digits or any of _ . : -';
      if (channel === room.name) return undefined;
      room.leave();
      composer.stopEditing();
      enter(channel);
      return undefined;
    },
    rename(wanted) {
      name = wanted || name;
      header.showName(name);
      memory.name.write(name);
    },
    useToken(token) {
      memory.token.write(token);
      client.close();
      begin(token, room.name);
    },
    connectNow: () => client.reconnect(),
  }, composer.showFault);
  composer.listen({
    submit(text, editing) {
      // Without a token the message would have no author, so its text stays in the draft.
      if (!hasToken && words.connection(client.state.value, hasToken).needsToken) {
        composer.restore(text, editing);
        return composer.showFault('Enter a token first.');
      }
      room.send({ name, text }, editing, (why) => {
        composer.restore(text, editing);
        composer.showFault(why);
      });
      log.toEnd();
    },
    typed: () => room.typed(name, Date.now()),
  });
  log.onOlder(() => void room.older());
  addEventListener('hashchange', () => location.reload());
}

function start(): void {
  const given = new URLSearchParams(location.hash.slice(1));
  const token = given.get('token') ?? memory.token.read();
  const wanted = given.get('channel') ?? '';
  memory.token.write(token);
  header.showToken(token);
  memory.name.keep(name);
  header.showName(name);
  listen();
  begin(token, words.isChannelName(wanted) ? wanted : LOBBY);
  setInterval(() => {
    header.tick();
    composer.showTyping(room.typing(Date.now()));
  }, 1000);
}

start();
