// Builds the files that the gateway serves from `client`, `page` and `console` into `dist`.
//
//   node build.mjs            writes dist
//   node build.mjs --check    writes nothing; fails if dist differs from the build
//
// The output depends only on the sources and the versions pinned in package-lock.json, not on the time, paths or the
// environment. So it can be committed, embedded in the binary, and verified by building it again. Files over a kilobyte have a
// compressed twin, by Zopfli, whose files are 3 % smaller than zlib's. A twin is kept while its content is right, and --check unpacks it.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { minify } from 'terser';
import ts from 'typescript';
import zopfli from '@gfx/zopfli';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, 'dist');
const source = (path) => readFileSync(join(here, path), 'utf8');
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex').slice(0, 32);
/** Shorter files are sent in one packet anyway. */
const TWIN_OVER = 1024;

const TYPES = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};

/** The library's modules besides its core: the name in `seawall-client/NAME`, and the source. */
const MODULES = { flags: 'flags', outbox: 'durable', presence: 'presence', producer: 'producer', reports: 'reports', streams: 'streams', telemetry: 'telemetry', timeline: 'timeline' };
const modules = Object.entries(MODULES);
/** The libraries' sources, not built copies. */
const SOURCES = {
  'seawall-client': './client/src/index.ts',
  ...Object.fromEntries(modules.map(([name, source]) => [`seawall-client/${name}`, `./client/src/${source}.ts`])),
};
/** The page is built on the React kit, with Preact in place of React. */
const KIT = {
  'seawall-react': './page/src/kit.ts',
  // A module that a first view does not need is in the second file only if nothing in the first imports it, or a file that imports it.
  // So the page names files of the kit instead of its other entries, and the kit is given these: it groups errors and does not report them.
  'seawall-client/reports': './client/src/errors.ts',
  'seawall-client/telemetry': './page/src/telemetry.ts',
  react: './page/src/react.ts',
  'react/jsx-runtime': 'preact/jsx-runtime',
  'react-dom/client': './page/src/react.ts',
};

/** Renames what a module keeps to itself once more: the names that Terser gives are 3 % shorter with gzip. */
const short = async (text, format = {}) => (await minify(text, { module: true, ecma: 2022, compress: { passes: 2 }, format })).code;

const OPTIONS = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  write: false,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  charset: 'utf8',
  legalComments: 'none',
  alias: SOURCES,
  logLevel: 'warning',
};

/** Bundles a JavaScript or CSS file with everything it imports. */
async function bundle(entry, options = {}) {
  const built = await build({ ...OPTIONS, entryPoints: [entry], ...options });
  return built.outputFiles[0].text;
}

/** Builds all files of `dist`: path to text. */
async function outputs() {
  const client = JSON.parse(source('client/package.json'));
  const preamble = `// ${client.name} ${client.version}, ${client.license}`;
  const files = new Map();
  const named = (name, extension, text) => {
    const path = `assets/${name}-${digest(text).slice(0, 10)}.${extension}`;
    files.set(path, text);
    return `/${path}`;
  };
  const scripts = await pageScripts();
  const script = named('page', 'js', scripts.page);
  const page = source('page/index.html')
    .replace('{{script}}', script)
    .replace('{{later-style}}', named('later', 'css', await bundle('page/src/later.css')))
    .replace('{{later}}', named('later', 'js', scripts.later.replace('./page.js', `.${script.slice(script.lastIndexOf('/'))}`)))
    .replace('{{style}}', named('page', 'css', await bundle('page/src/page.css')))
    .replace('{{icon}}', named('icon', 'svg', source('page/src/icon.svg')));
  files.set('index.html', page);
  // The gateway serves this one if `server.link_tokens` is off.
  files.set('index-link-tokens-off.html', page.replace('data-link-tokens="on"', 'data-link-tokens="off"'));
  const module = async (source) => `${await short(await bundle(`client/src/${source}.ts`), { preamble })}\n`;
  files.set('seawall-client.js', await module('index'));
  for (const [name, source] of modules) files.set(`seawall-client-${name}.js`, await module(source));
  await compress(files, '');
  files.set('files.rs', table(files));
  files.set('seawall-client.d.ts', "export * from './types/index.js';\n");
  for (const [name, source] of modules) files.set(`seawall-client-${name}.d.ts`, `export * from './types/${source}.js';\n`);
  for (const [path, text] of declarations()) files.set(`types/${path}`, text);
  for (const [path, text] of await consoleFiles()) files.set(`console/${path}`, text);
  return files;
}

/** Files that the page has in place of others: the fallbacks of the kit are loaded later, and the page iterates over no channel. */
const INSTEAD = { 'boundaries.tsx ./fallbacks.js': 'page/src/fallbacks.tsx', 'channel.ts ./iteration.js': 'page/src/unused.ts' };
const instead = {
  name: 'instead',
  setup: ({ onResolve }) => onResolve({ filter: /^\.\/(fallbacks|iteration)\.js$/ }, ({ importer, path }) => {
    const other = INSTEAD[`${basename(importer)} ${path}`];
    return other && { path: join(here, other) };
  }),
};

/** Builds the scripts of the page: what a first view needs, and what it loads later, which is all that only `later.ts` uses. */
async function pageScripts() {
  const { outputFiles } = await build({
    ...OPTIONS,
    // The second imports the first, so that one file has all of the first, and the file of the first itself does nothing but import that.
    entryPoints: { entry: 'page/src/main.tsx', later: 'page/src/later.ts' },
    splitting: true,
    outdir: dist,
    entryNames: '[name]',
    chunkNames: 'page',
    jsx: 'transform',
    jsxFactory: 'h',
    jsxFragment: 'Fragment',
    inject: ['page/src/h.ts'],
    tsconfigRaw: {},
    alias: { ...SOURCES, ...KIT },
    plugins: [instead],
  });
  const text = (name) => short(outputFiles.find(({ path }) => path === join(dist, `${name}.js`)).text);
  if (outputFiles.length !== 3) throw new Error('the page is in other files than the two that index.html names');
  return { page: await text('page'), later: await text('later') };
}

/** Adds the compressed twins. `folder` is where the files are in `dist`. */
async function compress(files, folder) {
  for (const [path, text] of [...files]) {
    const content = Buffer.from(text);
    if (content.length > TWIN_OVER) files.set(`${path}.gz`, packed(join(dist, folder, `${path}.gz`), content) ?? Buffer.from(await zopfli.gzipAsync(content, { numiterations: 15 })));
  }
}

/** Returns the bytes of a twin in `dist`, if it unpacks to this content. */
function packed(path, content) {
  try {
    const bytes = readFileSync(path);
    return gunzipSync(bytes, { maxOutputLength: content.length + 1 }).equals(content) ? bytes : undefined;
  } catch {
    return undefined;
  }
}

/** Builds the console. It has a table of its own, because the admin listener serves it, and the public one must not. */
async function consoleFiles() {
  const files = new Map();
  // Relative to the page, so that the console works under any prefix of a proxy.
  const named = (name, extension, text) => {
    const path = `assets/${name}-${digest(text).slice(0, 10)}.${extension}`;
    files.set(path, text);
    return path;
  };
  const page = source('console/index.html')
    .replace('{{script}}', named('console', 'js', await bundle('console/src/main.tsx', { jsx: 'automatic', jsxImportSource: 'preact' })))
    .replace('{{style}}', named('console', 'css', await bundle('console/src/console.css')))
    .replace('{{icon}}', named('icon', 'svg', source('page/src/icon.svg')));
  files.set('index.html', page);
  await compress(files, 'console/');
  files.set('files.rs', table(files, '/console/'));
  return files;
}

/** Returns the type declarations that the library's modules need. */
function declarations() {
  const folder = join(here, 'client');
  const config = ts.getParsedCommandLineOfConfigFile(join(folder, 'tsconfig.json'), { emitDeclarationOnly: true }, {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: (diagnostic) => { throw new Error(ts.flattenDiagnosticMessageText(diagnostic.messageText, ' ')); },
  });
  const all = new Map();
  const emit = (path, text) => all.set(relative(config.options.outDir, path), text);
  ts.createProgram(config.fileNames, config.options).emit(undefined, emit, undefined, true);
  const reached = new Map();
  const reach = (path) => {
    if (reached.has(path)) return;
    const text = all.get(path);
    if (text === undefined) throw new Error(`no declarations were built for client/src: ${path}`);
    reached.set(path, text);
    for (const [, name] of text.matchAll(/(?:from |import\()["']\.\/([\w-]+)\.js["']/g)) reach(`${name}.d.ts`);
  };
  reach('index.d.ts');
  for (const [, source] of modules) reach(`${source}.d.ts`);
  return reached;
}

/** Returns the request path of a file. A path with a query matches no request: only the gateway selects that file. */
function address(path, base) {
  if (path === 'index.html') return base;
  return path === 'index-link-tokens-off.html' ? `${base}?link_tokens=off` : `${base}${path}`;
}

/** Returns the kind of a file, as in `src/wire/files.rs`. */
function kindOf(path) {
  if (path.startsWith('assets/')) return 'Part';
  return path.endsWith('.html') ? 'Page' : 'Module';
}

/** Writes a table of files that the gateway embeds: `src/wire/page.rs` or `src/admin/console/files.rs` includes it. */
function table(files, base = '/') {
  const form = (path) => `FileForm { etag: "\\"${digest(files.get(path))}\\"", bytes: include_bytes!("${path}") }`;
  const rows = [...files.keys()].filter((path) => !path.endsWith('.gz')).sort().map((path) => [
    '    File {',
    `        path: "${address(path, base)}",`,
    `        media_type: "${TYPES[path.split('.').pop()]}",`,
    `        kind: FileKind::${kindOf(path)},`,
    `        plain: ${form(path)},`,
    `        gzip: ${files.has(`${path}.gz`) ? `Some(${form(`${path}.gz`)})` : 'None'},`,
    '    },',
  ].join('\n'));
  return `// Written by web/build.mjs.\n&[\n${rows.join('\n')}\n]\n`;
}

function filesUnder(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)));
}

function write(files) {
  rmSync(dist, { recursive: true, force: true });
  for (const [path, text] of files) {
    mkdirSync(dirname(join(dist, path)), { recursive: true });
    writeFileSync(join(dist, path), text);
  }
}

function differences(files) {
  const found = filesUnder(dist);
  const same = (path) => found.includes(path) && readFileSync(join(dist, path)).equals(Buffer.from(files.get(path)));
  return [
    ...[...files.keys()].filter((path) => !same(path)).map((path) => `${path}: ${found.includes(path) ? 'differs' : 'is missing'}`),
    ...found.filter((path) => !files.has(path)).map((path) => `${path}: is not part of the build`),
  ];
}

const files = await outputs();
if (process.argv.includes('--check')) {
  const wrong = differences(files);
  if (wrong.length > 0) {
    console.error(`web/dist differs from the build:\n  ${wrong.join('\n  ')}\nRun tools/web and commit web/dist.`);
    process.exit(1);
  }
  console.log(`web/dist matches the build (${files.size} files)`);
} else {
  write(files);
}
