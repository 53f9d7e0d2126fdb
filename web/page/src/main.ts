// The page at `/`: one client and one open channel. Changes of either are drawn once per animation frame.

import { connect, newKey, type Client } from 'seawall-client';
import { durable } from 'seawall-client/outbox';
import * as composer from './composer.ts';
import * as header from './header.ts';
import * as log from './log.ts';
import * as memory from './memory.ts';
import { Room } from './room.ts';
import { textOf } from './rows.ts';
import * as words from './words.ts';

const LOBBY = 'lobby';
/** The drawing interval of a hidden tab, which gets no animation frames. */
const HIDDEN_MS = 250;

const tab = newKey();
const keys = new memory.OwnKeys(() => changed());
let name = memory.name.read() || `guest-${tab.slice(-4).toLowerCase()}`;
let client: Client;
let room: Room;
/** Empty without one. */
let token = '';

let isPending = false;

function changed(): void {
  if (isPending) return;
  isPending = true;
  if (document.hidden) setTimeout(paint, HIDDEN_MS);
  else requestAnimationFrame(paint);
}

function paint(): void {
  isPending = false;
  header.showConnection(words.connection(client.state.value, token !== ''));
  header.showBanner(words.banner(client.status.value));
  composer.showTyping(room.typing(Date.now()));
  log.paint(room.rows(log.isAtEnd()), room.top(), actions);
}

/** Connects with the token of this tab, or without one. */
function begin(channel: string): void {
  client = connect('/ws', { client: 'seawall-page/1', outbox: durable(), ...(token === '' ? {} : { token }) });
  client.state.subscribe(changed);
  client.status.subscribe(changed);
  client.outbox.subscribe((entries) => {
    entries.forEach((entry) => keys.add(entry.key));
    changed();
  });
  enter(channel);
}

function change(channel: string): void {
  room.leave();
  enter(channel);
  composer.open(memory.draft.read(channel));
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
      if (channel !== room.name) change(channel);
      return undefined;
    },
    rename(wanted) {
      name = wanted || name;
      header.showName(name);
      memory.name.write(name);
    },
    useToken(given) {
      keep(given);
      client.close();
      begin(room.name);
    },
    connectNow: () => client.reconnect(),
  }, composer.showFault);
  composer.listen({
    submit(text, editing) {
      // Without a token the message would have no author, so its text stays in the draft.
      if (token === '' && words.connection(client.state.value, false).needsToken) {
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
    drafted: (text) => memory.draft.write(room.name, text),
  });
  log.onOlder(() => room.older());
  addEventListener('hashchange', () => {
    const link = readLink();
    change(link.channel || room.name);
    // The person may not have followed this link: another window can change the address as well.
    if (link.token !== '' && link.token !== token) header.offerToken(link.token);
  });
}

/** Reads what a link asks for: a token, a channel, or an empty text. */
function readLink(): { token: string; channel: string } {
  const given = new URLSearchParams(location.hash.slice(1));
  const [found, channel] = [given.get('token') ?? '', given.get('channel') ?? ''];
  if (found !== '' && !header.TAKES_LINK_TOKENS) composer.showFault('Tokens in links are turned off here. Enter yours above.');
  return { token: header.TAKES_LINK_TOKENS ? found : '', channel: words.isChannelName(channel) ? channel : '' };
}

function keep(given: string): void {
  token = given;
  memory.token.write(given);
}

function start(): void {
  const link = readLink();
  keep(memory.token.read() || link.token);
  header.showToken(token);
  memory.name.keep(name);
  header.showName(name);
  listen();
  begin(link.channel || LOBBY);
  composer.open(memory.draft.read(room.name));
  // A link does not replace the session of this tab unless the person wants that.
  if (link.token !== '' && link.token !== token) header.offerToken(link.token);
  setInterval(() => {
    header.tick();
    composer.showTyping(room.typing(Date.now()));
  }, 1000);
}

start();
