// Bundles the tests into .tests: those of values once, those of components for each runtime, with the library's sources.

import { readdirSync, rmSync } from 'node:fs';
import { build } from 'esbuild';
import { RUNTIMES, SOURCES } from './runtimes.mjs';

const here = new URL('./', import.meta.url);
const folder = new URL('../', here).pathname;
const all = readdirSync(here).filter((name) => /\.test\.tsx?$/.test(name));
const isOfComponents = (name) => /\.(dom|ssr)\.test\./.test(name);

function bundle(names, into, alias) {
  return build({
    absWorkingDir: folder,
    entryPoints: names.map((name) => `tests/${name}`),
    outdir: `.tests/${into}`,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    jsx: 'automatic',
    logLevel: 'warning',
    ignoreAnnotations: true,
    external: ['happy-dom', 'fast-check', 'fake-indexeddb', 'esbuild', 'vite', 'publint', 'typescript'],
    define: { 'process.env.NODE_ENV': '"development"', RUNTIME: JSON.stringify(into) },
    banner: { js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);" },
    alias: { ...SOURCES, ...alias },
  });
}

rmSync(new URL('../.tests/', here), { recursive: true, force: true });
await Promise.all([
  bundle(all.filter((name) => !isOfComponents(name)), 'values', {}),
  ...Object.entries(RUNTIMES).map(([name, alias]) => bundle(all.filter(isOfComponents), name, alias)),
]);
