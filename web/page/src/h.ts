export { createElement as h, Fragment } from 'preact';
