// Hive Gateway as a plain proxy of the same upstream, under the same path.
export const gatewayConfig = {
  graphqlEndpoint: "$path",
  proxy: { endpoint: "http://127.0.0.1:$upstream_port$path" },
  schema: "$schema",
};
