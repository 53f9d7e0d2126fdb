export * from './types/flags.js';
