# RosettaMQ in a container. The image listens on loopback only, as the program does by default, so that starting it opens
# nothing: docker-compose.yml shows the settings that publish it, with the API key that they need. It runs as user 1000 and
# writes to /data alone, so its root file system may be read-only.

# Another image of Node.js 24 or newer, for example one of a registry of your own: docker build --build-arg NODE_IMAGE=...
ARG NODE_IMAGE=node:24-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json build.ts ./
COPY src src
COPY adapters adapters
COPY mappings mappings
RUN node build.ts && npm prune --omit=dev --ignore-scripts

FROM ${NODE_IMAGE}
ENV NODE_ENV=production \
    ROSETTAMQ_STORAGE__FOLDER=/data
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY config config
RUN mkdir /data && chown node:node /data && \
  node -e "fs.symlinkSync('/app/dist/src/command.js', '/usr/local/bin/rosettamq')"
# By its number, so that an orchestrator can see that it is not root.
USER 1000
VOLUME /data
EXPOSE 1883 5672 8080 8083 9092
# Where the HTTP API has another port, ROSETTAMQ_API says so.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["rosettamq", "health"]
ENTRYPOINT ["node", "/app/dist/src/command.js"]
