"""The store on Redis, for many gateways: single, Sentinel or Cluster."""
