export * from './types/durable.js';
