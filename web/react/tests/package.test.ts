/** The packed kit: what is in it, that apps compile against it, that Vite bundles it, and that Node renders with it. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { publint } from 'publint';
import ts from 'typescript';
import { build } from 'vite';

const here = new URL('../../', import.meta.url).pathname;
/** Below the workspace, so that the app finds React, its types and the client library. */
const app = join(here, '.tests', 'app');
const installed = join(app, 'node_modules', 'seawall-react');

before(() => {
  if (!existsSync(join(here, '../client/lib/index.js'))) execFileSync('npm', ['run', 'build', '--workspace', 'client'], { cwd: join(here, '..'), stdio: 'ignore' });
  rmSync(app, { recursive: true, force: true });
  mkdirSync(installed, { recursive: true });
  // Within the kit's own package its name would mean the sources.
  writeFileSync(join(app, 'package.json'), '{"name":"app","type":"module"}');
  const folder = mkdtempSync(join(app, 'pack-'));
  execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], { cwd: here });
  execFileSync('tar', ['-xzf', join(folder, readdirSync(folder)[0]!), '--strip-components=1', '-C', installed]);
  cpSync(join(here, 'tests', 'guide'), app, { recursive: true });
  cpSync(join(here, 'tests', 'css.d.ts'), join(app, 'css.d.ts'));
});

after(() => rmSync(app, { recursive: true, force: true }));

test('the package has both licences, its styles, sources in the maps, and is for clients', async () => {
  for (const name of ['LICENSE-MIT', 'LICENSE-APACHE']) {
    assert.equal(readFileSync(join(installed, name), 'utf8'), readFileSync(join(here, '..', '..', name), 'utf8'), `${name} is that of the repository`);
  }
  assert.ok(existsSync(join(installed, 'src/styles.css')));
  const { sourcesContent } = JSON.parse(readFileSync(join(installed, 'lib/index.js.map'), 'utf8')) as { sourcesContent?: string[] };
  assert.ok(sourcesContent?.[0]);
  assert.match(readFileSync(join(installed, 'lib/index.js'), 'utf8'), /^'use client';/);
  const { messages } = await publint({ pkgDir: installed, strict: true });
  assert.deepEqual(messages, []);
});

test('every block of docs/react.md compiles against the package under strict options', () => {
  const blocks = readdirSync(app).filter((name) => /\.tsx$|css\.d\.ts/.test(name)).map((name) => join(app, name));
  assert.ok(blocks.length > 5);
  const program = ts.createProgram(blocks, {
    module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, noEmit: true, strict: true, skipDefaultLibCheck: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, target: ts.ScriptTarget.ES2022,
    jsx: ts.JsxEmit.ReactJSX, types: [], lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
  });
  const used = program.getSourceFiles().map(({ fileName }) => fileName).filter((name) => name.includes('seawall-react/'));
  assert.ok(used.length > 5 && used.every((name) => name.startsWith(installed)), 'the packed kit is compiled, not the sources');
  const isOurs = ({ file }: ts.Diagnostic) => !file?.fileName.includes('/node_modules/') || file.fileName.startsWith(installed);
  const complaints = ts.getPreEmitDiagnostics(program).filter(isOurs)
    .map(({ file, messageText }) => `${file ? basename(file.fileName) : ''}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`);
  assert.deepEqual(complaints, []);
});

const APP = `
  import { createElement as h } from 'react';
  import { AppBoundary, createKit, SeawallProvider, StatusBanner } from 'seawall-react';
  export const app = () => h(AppBoundary, { kit: createKit() }, h(SeawallProvider, { kit: createKit(), url: '/ws' }, h(StatusBanner), h('p', null, 'an app')));
`;

test('Vite bundles an app with the package and its styles, and leaves out what the app does not use', async () => {
  writeFileSync(join(app, 'main.js'), `${APP} import { createRoot } from 'react-dom/client'; import 'seawall-react/styles.css'; createRoot(document.body).render(app());`);
  const built = await build({ root: app, configFile: false, logLevel: 'silent', build: { write: false, minify: false, rollupOptions: { input: join(app, 'main.js') } } });
  const { output } = (Array.isArray(built) ? built[0] : built) as { output: { fileName: string; code?: string; source?: string | Uint8Array }[] };
  const script = output.find(({ fileName }) => fileName.endsWith('.js'))!.code!;
  assert.ok(script.includes('sw-banner') && !script.includes('sw-newer'), 'the list is not in it');
  assert.ok(String(output.find(({ fileName }) => fileName.endsWith('.css'))!.source).includes('.sw-banner'));
});

test('Node renders an app with the package', () => {
  writeFileSync(join(app, 'server.mjs'), `${APP} import { renderToString } from 'react-dom/server'; console.log(renderToString(app()));`);
  assert.match(execFileSync(process.execPath, ['server.mjs'], { cwd: app, encoding: 'utf8' }), /<p>an app<\/p>/);
});
