"""Real control planes, without a cluster: in namespaces of their own, on fixed ports, with names and
certificates as a cluster would have them.

    world ─► registry         where the module's images are
      │
      ├────► istio            istiod over an API in memory, pilot-agent, its Envoy
      └────► envoy_gateway    Envoy Gateway over files, its Envoy

`make e2e-istio` and `make e2e-envoy-gateway` enter the namespaces; see `inside.sh`.
"""
