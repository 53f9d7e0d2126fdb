// A web server of another origin, as an app has it. It serves one HTML page, and scripts by their path.

import { createServer } from 'node:http';

export class Site {
  /** `page` and the members of `scripts` return what is served, and are called for each request. */
  static async start(t, page, scripts = {}) {
    const server = createServer((request, response) => {
      const serve = request.url === '/' ? page : scripts[request.url];
      const type = serve === page ? 'text/html' : 'text/javascript';
      response.writeHead(serve ? 200 : 404, { 'Content-Type': `${type}; charset=utf-8` }).end(serve?.() ?? '');
    });
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    t.after(() => server.close());
    const site = new Site();
    site.url = `http://127.0.0.1:${server.address().port}`;
    return site;
  }
}
