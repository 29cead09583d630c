-- Schema version 4, as commit 189d4cd6 wrote it. Never to be changed.
BEGIN TRANSACTION;
CREATE TABLE "background_jobs" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, "parameters" TEXT NOT NULL, "status" VARCHAR(255) NOT NULL, "retry_count" INTEGER NOT NULL, "max_retries" INTEGER NOT NULL, "retry_delay" REAL NOT NULL, "backoff" VARCHAR(255) NOT NULL, "max_retry_delay" REAL NOT NULL, "queue" VARCHAR(255) NOT NULL, "priority" INTEGER NOT NULL, "timeout" REAL, "scheduled_at" VARCHAR(255), "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "created_at" VARCHAR(255) NOT NULL, "updated_at" VARCHAR(255) NOT NULL, "cancel_requested_at" VARCHAR(255), "idempotency_key" VARCHAR(255), "result" TEXT, "error" TEXT, "submitted_uid" INTEGER, "submitted_gid" INTEGER, "submitted_pid" INTEGER, "ready" INTEGER NOT NULL, "request_digest" VARCHAR(255), "sensitive" TEXT);
INSERT INTO "background_jobs" VALUES(1,'jobs.Example','work','{"to":"user@example.com"}','completed',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:17:50.313036Z','2026-11-29T03:17:50.404010Z','2026-11-29T03:17:50.313036Z','2026-11-29T03:17:50.473027Z',NULL,'done','{"sent":"user@example.com"}',NULL,0,0,1519615,1,'3e06ce13f425279d9ec2c75047fcef2c',NULL);
INSERT INTO "background_jobs" VALUES(2,'jobs.Example','fail','{"message":"no"}','failed',0,0,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:17:52.643670Z','2026-11-29T03:17:52.768504Z','2026-11-29T03:17:52.643670Z','2026-11-29T03:17:52.793686Z',NULL,'18ec65caafa1b5fa-42dfb4321a4dee38260dd707fdeb07d2',NULL,'ValueError: no',0,0,1519724,1,'d7d7c1bfa6476b1fc145330cfc64d0b8',NULL);
INSERT INTO "background_jobs" VALUES(3,'jobs.Example','fail','{"message":"again"}','pending',1,3,36000.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:17:53.847319Z','2026-11-29T03:17:53.746375Z',NULL,'2026-11-29T03:17:53.746375Z','2026-11-29T03:17:53.847319Z',NULL,'18ec65caf1affc61-c53df4b66eee8753a7fddfa94b61284c',NULL,'ValueError: again',0,0,1519765,0,'8ef3efaf26f7e798debca113af96fba0',NULL);
INSERT INTO "background_jobs" VALUES(4,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:17:54.693820Z',NULL,NULL,'2026-11-29T03:17:54.694036Z','2026-11-29T03:17:54.694036Z',NULL,'18ec65cb2ae63b94-bf60b1c9cb1a637777d7ec6cbcae1a34',NULL,NULL,0,0,1519784,0,'62cffedf021cbabb0d45b70d12f9c795',NULL);
INSERT INTO "background_jobs" VALUES(5,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'held',5,NULL,NULL,NULL,NULL,'2026-11-29T03:17:56.369419Z','2026-11-29T03:17:56.369419Z',NULL,'18ec65cb8e4bcbfa-d57f9f83d6b7ae7be9cb3d9c20c3c527',NULL,NULL,0,0,1519825,1,'304217553636e0c08082da0b981cd3fc',NULL);
INSERT INTO "background_jobs" VALUES(6,'jobs.Example','work','{}','cancelled',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T12:17:57.187600Z',NULL,'2026-11-29T03:17:58.256024Z','2026-11-29T03:17:57.187769Z','2026-11-29T03:17:58.256024Z','2026-11-29T03:17:58.256024Z','18ec65cbbf3361a4-5c88463a485e5f59d4027efa3c6b0a25',NULL,NULL,0,0,1519845,0,'33497a24f11a91d25c2c82a37a7db4ba',NULL);
INSERT INTO "background_jobs" VALUES(7,'jobs.Example','wait','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:17:59.477894Z',NULL,'2026-11-29T03:17:59.477894Z','2026-11-29T03:17:59.477894Z',NULL,'18ec65cc4673c36e-480e6c7febee36658698e79671e2eb2e',NULL,NULL,0,0,1519916,1,'1e1e9fa15a2d804f5e60fe7500c31c20',NULL);
INSERT INTO "background_jobs" VALUES(8,'jobs.Example','ignore','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:18:00.447954Z',NULL,'2026-11-29T03:18:00.447954Z','2026-11-29T03:18:01.961737Z','2026-11-29T03:18:01.961737Z','18ec65cc819d1c48-962701d8591d47f313dd10ee495ab2a7',NULL,NULL,0,0,1519965,1,'f2ce645d6dfe6f66c5a8ff6cb5b4b4d6',NULL);
CREATE TABLE "job_attempts" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, "token" VARCHAR(255) NOT NULL, "boot_id" VARCHAR(255) NOT NULL, "pid" INTEGER, "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "outcome" VARCHAR(255), "exit_code" INTEGER, "signal" INTEGER, "error_type" TEXT, "error_message" TEXT, "traceback" TEXT, "max_rss" INTEGER, "cpu_user" REAL, "cpu_system" REAL, "output_bytes" INTEGER, "code_version" VARCHAR(255), "progress" TEXT, "noted" INTEGER NOT NULL DEFAULT 0, PRIMARY KEY ("job_id", "number")) WITHOUT ROWID;
INSERT INTO "job_attempts" VALUES(1,1,'c9b35e97716522fb','1df388ec-d432-41b4-9c12-5c687383d3a6',1519718,'2026-11-29T03:17:50.384744Z','2026-11-29T03:17:50.404010Z','completed',0,NULL,NULL,NULL,NULL,13795328,0.00409,0.0,0,'6ed0301d74f4',NULL,0);
INSERT INTO "job_attempts" VALUES(2,1,'f54f12bfc2faf7d0','1df388ec-d432-41b4-9c12-5c687383d3a6',1519761,'2026-11-29T03:17:52.676160Z','2026-11-29T03:17:52.768504Z','failed',1,NULL,'ValueError','no','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: no
',14241792,1.15699999999999986e-02,0.0,0,'6ed0301d74f4',NULL,0);
INSERT INTO "job_attempts" VALUES(3,1,'d01e122a29d1e233','1df388ec-d432-41b4-9c12-5c687383d3a6',1519780,'2026-11-29T03:17:53.797794Z','2026-11-29T03:17:53.845598Z','failed',1,NULL,'ValueError','again','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: again
',14241792,0.010681,0.0,0,'6ed0301d74f4',NULL,0);
INSERT INTO "job_attempts" VALUES(7,1,'529f8a9cf1e7223d','1df388ec-d432-41b4-9c12-5c687383d3a6',1519957,'2026-11-29T03:17:59.507273Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'6ed0301d74f4',NULL,0);
INSERT INTO "job_attempts" VALUES(8,1,'9bc2b7911e397eb5','1df388ec-d432-41b4-9c12-5c687383d3a6',1519981,'2026-11-29T03:18:00.466362Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'6ed0301d74f4',NULL,0);
CREATE TABLE "job_logs" ("id" INTEGER NOT NULL PRIMARY KEY, "job_id" INTEGER NOT NULL, "attempt" INTEGER, "type" VARCHAR(255) NOT NULL, "message" TEXT NOT NULL, "context" TEXT, "created_at" VARCHAR(255) NOT NULL, "folded" TEXT, "attempts_allowed" INTEGER);
INSERT INTO "job_logs" VALUES(1,1,NULL,'success','Background job initiated','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:17:50.313036Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(2,1,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:17:50.313036Z',NULL,4);
INSERT INTO "job_logs" VALUES(3,1,1,'success','Background job started','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:17:50.473027Z',NULL,4);
INSERT INTO "job_logs" VALUES(4,1,1,'success','Background job completed processing',NULL,'2026-11-29T03:17:50.473027Z',NULL,4);
INSERT INTO "job_logs" VALUES(5,2,NULL,'success','Background job initiated','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:17:52.643670Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(6,2,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:17:52.643670Z',NULL,1);
INSERT INTO "job_logs" VALUES(7,2,1,'success','Background job started','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:17:52.742455Z',NULL,1);
INSERT INTO "job_logs" VALUES(8,2,1,'failure','ValueError: no (attempt 1 of 1)',NULL,'2026-11-29T03:17:52.793686Z',NULL,1);
INSERT INTO "job_logs" VALUES(9,3,NULL,'success','Background job initiated','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:17:53.746375Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(10,3,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:17:53.746375Z',NULL,4);
INSERT INTO "job_logs" VALUES(11,3,1,'success','Background job started','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:17:53.847319Z',NULL,4);
INSERT INTO "job_logs" VALUES(12,3,1,'failure','ValueError: again (attempt 1 of 4, next at 13:17:53)',NULL,'2026-11-29T03:17:53.847319Z',NULL,4);
INSERT INTO "job_logs" VALUES(13,3,1,'info','Background job waits for retry 1 of 3 at 13:17:53',NULL,'2026-11-29T03:17:53.847319Z',NULL,4);
INSERT INTO "job_logs" VALUES(14,4,NULL,'success','Background job initiated','{"id":4,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:17:54.694036Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(15,5,NULL,'success','Background job initiated','{"id":5,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"held","priority":5,"parameters":{}}','2026-11-29T03:17:56.369419Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(16,6,NULL,'success','Background job initiated','{"id":6,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:17:57.187769Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(17,6,NULL,'info','Background job cancelled',NULL,'2026-11-29T03:17:58.256024Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(18,7,NULL,'success','Background job initiated','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:17:59.477894Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(19,7,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:17:59.477894Z',NULL,4);
INSERT INTO "job_logs" VALUES(20,7,1,'success','Background job started','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:17:59.566390Z',NULL,4);
INSERT INTO "job_logs" VALUES(21,8,NULL,'success','Background job initiated','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:18:00.447954Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(22,8,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:18:00.447954Z',NULL,4);
INSERT INTO "job_logs" VALUES(23,8,1,'success','Background job started','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:18:00.536153Z',NULL,4);
INSERT INTO "job_logs" VALUES(24,8,1,'info','Background job cancel requested',NULL,'2026-11-29T03:18:01.961737Z',NULL,4);
CREATE TABLE "properties" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "value" TEXT NOT NULL);
INSERT INTO "properties" VALUES('database_id','2dd3140c-143b-4164-a20e-333fb0ffaa64');
CREATE TABLE "queues" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "paused_at" VARCHAR(255) NOT NULL);
INSERT INTO "queues" VALUES('held','2026-11-29T03:17:55.621643Z');
CREATE INDEX jobs_ready ON background_jobs (queue, priority DESC, id) WHERE status = 'pending' AND ready = 1;
CREATE INDEX jobs_scheduled ON background_jobs (scheduled_at) WHERE status = 'pending' AND ready = 0;
CREATE INDEX jobs_running ON background_jobs (queue) WHERE status = 'running';
CREATE UNIQUE INDEX jobs_key ON background_jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_finished ON background_jobs (status, id) WHERE finished_at IS NOT NULL;
CREATE INDEX attempts_open ON job_attempts (job_id, number) WHERE outcome IS NULL;
CREATE INDEX logs_job ON job_logs (job_id, id);
CREATE INDEX jobs_pending ON background_jobs (ready) WHERE status = 'pending' AND finished_at IS NULL;
CREATE INDEX logs_type ON job_logs (type) WHERE type <> 'success';
CREATE INDEX jobs_ended ON background_jobs (status, finished_at) WHERE finished_at IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('background_jobs',8);
COMMIT;
PRAGMA user_version = 4;
