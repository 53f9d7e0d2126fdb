// Keeps a copy of a channel in a file and resumes where it left off.
//
//   node archive.mjs ws://127.0.0.1:8080/ws archive.json 3

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import WebSocket from 'ws';
import { connect } from 'seawall-client';

const [url, file, many] = process.argv.slice(2);
if (!url || !file) {
  console.error('usage: node archive.mjs URL FILE [MANY]');
  process.exit(2);
}
const kept = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { publications: [] };

const client = connect(url, { WebSocket });
// An empty epoch with offset 0 means the beginning of the current log.
const room = client.channel('lobby', { from: kept.cursor ?? { epoch: '', offset: 0 } });

room.on('gap', ({ from, to }) => console.log(`${from} to ${to} are no longer kept by the gateway`));
room.on('reset', () => { kept.publications = []; });
room.on('publication', (publication) => {
  kept.publications.push(publication);
  kept.cursor = room.cursor;
  writeFileSync(`${file}.new`, JSON.stringify(kept));
  renameSync(`${file}.new`, file);
  console.log(`kept ${publication.offset}`);
  if (kept.publications.length === Number(many)) client.close();
});
