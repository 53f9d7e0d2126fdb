/** The packed library: what is in it, how it resolves, and that apps compile against it. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import ts from 'typescript';

const here = fileURLToPath(new URL('../../', import.meta.url));
/** Below the workspace, so that the app finds the types of Node and of `ws`. */
const app = join(here, '.tests', 'app');
const installed = join(app, 'node_modules', 'seawall-client');
let tarball: string;

before(() => {
  rmSync(app, { recursive: true, force: true });
  mkdirSync(installed, { recursive: true });
  const folder = mkdtempSync(join(app, 'pack-'));
  execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], { cwd: here });
  tarball = join(folder, readdirSync(folder)[0]!);
  execFileSync('tar', ['-xzf', tarball, '--strip-components=1', '-C', installed]);
  cpSync(join(here, 'tests', 'app.ts'), join(app, 'app.ts'));
  cpSync(join(here, 'tests', 'guide'), join(app, 'guide'), { recursive: true });
});

after(() => rmSync(app, { recursive: true, force: true }));

test('the package has both licences, source maps with sources, and links that stay inside', () => {
  for (const name of ['LICENSE-MIT', 'LICENSE-APACHE']) {
    assert.equal(readFileSync(join(installed, name), 'utf8'), readFileSync(join(here, '..', '..', name), 'utf8'), `${name} is that of the repository`);
  }
  const modules = readdirSync(join(installed, 'lib')).filter((name) => name.endsWith('.js'));
  assert.ok(modules.length > 10);
  for (const name of modules) {
    const { sourcesContent } = JSON.parse(readFileSync(join(installed, 'lib', `${name}.map`), 'utf8')) as { sourcesContent?: string[] };
    assert.ok(sourcesContent?.[0], `${name} has its source`);
  }
  const links = [...readFileSync(join(installed, 'README.md'), 'utf8').matchAll(/\]\((.*?)\)/g)].map(([, link]) => link!);
  assert.ok(links.length > 0);
  for (const link of links) assert.ok(existsSync(join(installed, link)) && !link.startsWith('..'), link);
});

test('publint and Are The Types Wrong have no complaint', async () => {
  const { messages } = await publint({ pkgDir: installed, strict: true });
  assert.deepEqual(messages, []);
  const { problems = [] } = await checkPackage(createPackageFromTarballData(readFileSync(tarball))) as { problems?: { kind: string }[] };
  // The package has ES modules alone, which `require` of Node before 22 cannot load.
  assert.deepEqual(problems.filter(({ kind }) => kind !== 'CJSResolvesToESM'), []);
});

const STRICT: ts.CompilerOptions = {
  noEmit: true, strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: false, skipDefaultLibCheck: true,
  target: ts.ScriptTarget.ES2022, types: [],
};
const DOM = ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'];
const { ES2022, NodeNext } = ts.ModuleKind;
const RESOLUTIONS: [string, ts.CompilerOptions][] = [
  ['nodenext', { module: NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext }],
  ['bundler', { module: ES2022, moduleResolution: ts.ModuleResolutionKind.Bundler }],
  ['node10', { module: ES2022, moduleResolution: ts.ModuleResolutionKind.Node10 }],
];

/** Returns the compiler's complaints about these files. */
function complaints(files: string[], options: ts.CompilerOptions): string[] {
  const program = ts.createProgram(files, { ...STRICT, ...options });
  const library = program.getSourceFiles().map((file) => file.fileName).filter((name) => name.includes('seawall-client'));
  assert.ok(library.every((name) => name.startsWith(installed)), 'the packed library is compiled, not the sources');
  const others = ({ file }: ts.Diagnostic) => file?.fileName.includes('/node_modules/') && !file.fileName.startsWith(installed);
  return ts.getPreEmitDiagnostics(program).filter((one) => !others(one)).map(({ file, messageText }) =>
    `${file ? basename(file.fileName) : ''}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`);
}

for (const [name, resolution] of RESOLUTIONS) {
  test(`an app compiles against the package with ${name}, with and without the types of the DOM`, () => {
    for (const lib of [DOM, ['lib.es2022.d.ts']]) assert.deepEqual(complaints([join(app, 'app.ts')], { ...resolution, lib }), [], lib.join());
  });
}

/** Names of the DOM that recipes use: without its types these, and nothing of the library, are unknown. */
const GLOBALS = /^Cannot find name '(?:console|document|location|window|fetch|setTimeout|setInterval|process|Request|Response|HTML\w+|Event)'/;

test('every block of docs/sdk.md compiles against the package under strict options, with and without the types of the DOM', () => {
  const recipes = readdirSync(join(app, 'guide')).map((name) => join(app, 'guide', name));
  assert.ok(recipes.length > 10);
  // The types of Node and `ws` have complaints of their own, which `complaints` leaves out.
  const options = { ...RESOLUTIONS[0]![1], types: ['node'] };
  assert.deepEqual(complaints(recipes, { ...options, lib: DOM }), []);
  const needNode = recipes.filter((path) => /from '(?:node:|ws')|process/.test(readFileSync(path, 'utf8')));
  const others = recipes.filter((path) => !needNode.includes(path));
  assert.ok(needNode.length > 1 && others.length > 10, `${needNode.length} for Node, ${others.length} others`);
  assert.deepEqual(complaints(others, { ...options, types: [], lib: DOM }), []);
  assert.deepEqual(complaints(needNode, { ...options, lib: ['lib.es2022.d.ts'] }), []);
  // Parameters of unknown functions have no types either.
  assert.deepEqual(complaints(others, { ...options, types: [], noImplicitAny: false, lib: ['lib.es2022.d.ts'] }).filter((text) => !GLOBALS.test(text.replace(/^[^:]*: /, ''))), []);
});
