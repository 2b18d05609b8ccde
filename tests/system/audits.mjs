// Runs the audits of npm's graphql-http against a GraphQL server, and prints what is not well as JSON.
//
//   node audits.mjs URL TOKEN

import { serverAudits } from 'graphql-http';

const [url, token] = process.argv.slice(2);
const fetchFn = (where, options = {}) =>
  fetch(where, { ...options, headers: { ...options.headers, authorization: `Bearer ${token}` } });

const results = [];
for (const audit of serverAudits({ url, fetchFn })) {
  const result = await audit.fn();
  await result.response?.body?.cancel().catch(() => {});
  results.push({ id: audit.id, name: audit.name, status: result.status, reason: result.reason });
}
console.log(JSON.stringify(results));
