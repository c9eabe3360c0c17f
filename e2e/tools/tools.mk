# The programs of others that the tests run: the control planes, func-e, an API server. Each is built
# from its Go module, once, below target/tools, in a directory with its version in the name. Go's own
# cache (GOCACHE) makes a second build of one program take seconds.

GO ?= go
HAS_GO := $(shell command -v $(GO) 2> /dev/null)
HAS_ETCD := $(shell command -v etcd 2> /dev/null)
FUNC_E_VERSION := 1.6.0
# The newest Envoy Gateway, and the oldest that is supported.
ENVOY_GATEWAY_VERSION := 1.9.1
OLD_ENVOY_GATEWAY_VERSION := 1.7.2
KUBERNETES_VERSION := 1.37.2
ISTIO_COMMIT := $(shell sed -n 's/^\tistio.io\/istio v.*-\([0-9a-f]*\)$$/\1/p' e2e/tools/istio/go.mod)

# Some links need 2 GiB; one of them at a time is enough for a small machine.
GO_BUILD := CGO_ENABLED=0 GOFLAGS=-buildvcs=false $(GO) build -p 2 -trimpath -ldflags

FUNC_E := $(TOOLS)/func-e-$(FUNC_E_VERSION)/func-e
CRDCHECK := $(TOOLS)/crdcheck/crdcheck
ENVOY_GATEWAY := $(TOOLS)/envoy-gateway-$(ENVOY_GATEWAY_VERSION)/envoy-gateway
OLD_ENVOY_GATEWAY := $(TOOLS)/envoy-gateway-$(OLD_ENVOY_GATEWAY_VERSION)/envoy-gateway
# The kinds that a cluster has: of the oldest versions that are supported, and of the newest.
CRDS := $(TOOLS)/crds/oldest $(TOOLS)/crds/newest
ISTIO := $(addprefix $(TOOLS)/istio-$(ISTIO_COMMIT)/,istiod-offline pilot-agent crds.yaml bootstrap.json)
APISERVER := $(addprefix $(TOOLS)/kubernetes-$(KUBERNETES_VERSION)/,kube-apiserver kubectl)

# The directory of a module in Go's cache, loaded where it is not there yet.
module = $$($(GO) mod download -json $(1) | sed -n 's/^\t"Dir": "\(.*\)",$$/\1/p')

$(FUNC_E):
	@mkdir -p $(@D)
	cd $(call module,github.com/tetratelabs/func-e@v$(FUNC_E_VERSION)) && \
	    $(GO_BUILD) '-s -w -X main.version=$(FUNC_E_VERSION)' -mod=readonly -o $(abspath $@) ./cmd/func-e

$(CRDCHECK): $(wildcard e2e/tools/crdcheck/*)
	@mkdir -p $(@D)
	cd e2e/tools/crdcheck && $(GO_BUILD) '-s -w' -o $(abspath $@) .

$(TOOLS)/envoy-gateway-%/envoy-gateway:
	@mkdir -p $(@D)
	cd $(call module,github.com/envoyproxy/gateway@v$*) && \
	    $(GO_BUILD) '-s -w' -mod=readonly -o $(abspath $@) ./cmd/envoy-gateway

$(TOOLS)/istio-$(ISTIO_COMMIT)/istiod-offline: $(wildcard e2e/tools/istio/go.* e2e/tools/istio/istiod-offline/*)
	@mkdir -p $(@D)
	cd e2e/tools/istio && $(GO_BUILD) '-s -w' -o $(abspath $@) ./istiod-offline

$(TOOLS)/istio-$(ISTIO_COMMIT)/pilot-agent: e2e/tools/istio/go.mod
	@mkdir -p $(@D)
	cd e2e/tools/istio && $(GO_BUILD) '-s -w' -o $(abspath $@) istio.io/istio/pilot/cmd/pilot-agent

$(TOOLS)/crds/oldest: MODULES := sigs.k8s.io/gateway-api@v1.4.1 istio.io/api@v1.29.2 \
    github.com/envoyproxy/gateway@v$(OLD_ENVOY_GATEWAY_VERSION)
$(TOOLS)/crds/newest: MODULES := sigs.k8s.io/gateway-api@v1.6.1 istio.io/api@v1.32.0 \
    github.com/envoyproxy/gateway@v$(ENVOY_GATEWAY_VERSION)
# Where the modules have them differs from version to version; what is not there is passed over.
$(CRDS): e2e/tools/tools.mk
	rm -rf $@ $@.new && mkdir -p $@.new
	for module in $(MODULES); do \
	    directory=$$($(GO) mod download -json $$module | sed -n 's/^\t"Dir": "\(.*\)",$$/\1/p') && \
	    for file in $$directory/config/crd/standard/gateway*.yaml \
	        $$directory/kubernetes/customresourcedefinitions.gen.yaml \
	        $$directory/charts/gateway-helm/crds/generated/*.yaml \
	        $$directory/charts/gateway-helm/charts/crds/crds/generated/*.yaml; do \
	        if [ -f "$$file" ]; then cp "$$file" $@.new/ || exit 1; fi; \
	    done || exit 1; \
	done
	mv $@.new $@

$(APISERVER): e2e/tools/kubernetes/go.mod
	@mkdir -p $(@D)
	cd e2e/tools/kubernetes && $(GO_BUILD) '-s -w' -o $(abspath $@) k8s.io/kubernetes/cmd/$(@F)

# Files of Istio's that its own programs read: the kinds of its API and of the Gateway API, and the
# template of Envoy's bootstrap.
$(TOOLS)/istio-$(ISTIO_COMMIT)/crds.yaml: e2e/tools/istio/go.mod
	@mkdir -p $(@D)
	cd e2e/tools/istio && directory=$$($(GO) list -m -f '{{.Dir}}' istio.io/istio) && \
	    { cat $$directory/manifests/charts/base/files/crd-all.gen.yaml; echo ---; \
	    cat $$directory/tests/integration/pilot/testdata/gateway-api-crd.yaml; } > $(abspath $@)

$(TOOLS)/istio-$(ISTIO_COMMIT)/bootstrap.json: e2e/tools/istio/go.mod
	@mkdir -p $(@D)
	cd e2e/tools/istio && directory=$$($(GO) list -m -f '{{.Dir}}' istio.io/istio) && \
	    cp $$directory/tools/packaging/common/envoy_bootstrap.json $(abspath $@) && chmod u+w $(abspath $@)
