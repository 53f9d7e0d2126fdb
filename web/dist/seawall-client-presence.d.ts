export * from './types/presence.js';
