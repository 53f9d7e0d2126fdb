export * from './types/producer.js';
