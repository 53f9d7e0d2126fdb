// A web server of another origin, as an app has it. It serves one HTML page.

import { createServer } from 'node:http';

export class Site {
  /** `page` returns the HTML, and is called for each request. */
  static async start(t, page) {
    const server = createServer((request, response) => {
      const isPage = request.url === '/';
      response.writeHead(isPage ? 200 : 404, { 'Content-Type': 'text/html; charset=utf-8' }).end(isPage ? page() : '');
    });
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    t.after(() => server.close());
    const site = new Site();
    site.url = `http://127.0.0.1:${server.address().port}`;
    return site;
  }
}
