{{/*
What the controller may do in each namespace that it watches, and why. It never updates what it did not make: objects
are written by server-side apply, which is `patch` (and `create` when absent).
*/}}
{{- define "scim-operator.rules" -}}
# What people ask for. `patch` is for the finalizer that holds a tenant until its data is purged.
- apiGroups: [scim-operator.io]
  resources: [scimendpoints, scimtenants]
  verbs: [get, list, watch, patch]
# What became of it.
- apiGroups: [scim-operator.io]
  resources: [scimendpoints/status, scimtenants/status]
  verbs: [patch]
# Where OwnerReferencesPermissionEnforcement is on, only who may set finalizers may own objects by them.
- apiGroups: [scim-operator.io]
  resources: [scimendpoints/finalizers, scimtenants/finalizers]
  verbs: [update]
# Reads the Secrets that tenants and endpoints name, whose names are free, and follows their changes; makes tenants'
# credentials and the servers' configuration, and deletes the configuration of an endpoint's empty shards. The right to
# read is also what lets it grant a server pod the right to read its own configuration.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
# The servers' address and their identity.
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
# The volume of an endpoint with SQLite. It never deletes one.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch]
# The servers. Their pods are asked which configuration they run before a status says so.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# How many servers there are, and how many may be down at once.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# The way in: one of Ingress and HTTPRoute, and who may reach a pod at all.
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
# The certificate of an endpoint with `tls.issuerRef`.
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [get, list, watch, create, patch, delete]
# A server pod may read its own configuration, and nothing else: one Role for each endpoint.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
# What happened, for `kubectl describe`. `patch` counts the same event up.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
