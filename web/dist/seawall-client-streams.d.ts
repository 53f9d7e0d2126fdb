export * from './types/streams.js';
