-- Schema version 6, as commit 3ee6ccf2 wrote it. Never to be changed.
BEGIN TRANSACTION;
CREATE TABLE "background_jobs" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, "parameters" TEXT NOT NULL, "status" VARCHAR(255) NOT NULL, "retry_count" INTEGER NOT NULL, "max_retries" INTEGER NOT NULL, "retry_delay" REAL NOT NULL, "backoff" VARCHAR(255) NOT NULL, "max_retry_delay" REAL NOT NULL, "queue" VARCHAR(255) NOT NULL, "priority" INTEGER NOT NULL, "timeout" REAL, "scheduled_at" VARCHAR(255), "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "created_at" VARCHAR(255) NOT NULL, "updated_at" VARCHAR(255) NOT NULL, "cancel_requested_at" VARCHAR(255), "idempotency_key" VARCHAR(255), "result" TEXT, "error" TEXT, "submitted_uid" INTEGER, "submitted_gid" INTEGER, "submitted_pid" INTEGER, "ready" INTEGER NOT NULL, "request_digest" VARCHAR(255), "sensitive" TEXT, "crashes" INTEGER NOT NULL DEFAULT 0);
INSERT INTO "background_jobs" VALUES(1,'jobs.Example','work','{"to":"user@example.com"}','completed',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:18:48.520490Z','2026-11-29T03:18:48.590762Z','2026-11-29T03:18:48.520490Z','2026-11-29T03:18:48.624974Z',NULL,'done','{"sent":"user@example.com"}',NULL,0,0,1521764,1,'3e06ce13f425279d9ec2c75047fcef2c',NULL,0);
INSERT INTO "background_jobs" VALUES(2,'jobs.Example','fail','{"message":"no"}','failed',0,0,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:18:50.739867Z','2026-11-29T03:18:50.877143Z','2026-11-29T03:18:50.739867Z','2026-11-29T03:18:50.989824Z',NULL,'18ec65d834872ef5-f2b96d508dcfca09055f5c5668e59ac3',NULL,'ValueError: no',0,0,1521872,1,'d7d7c1bfa6476b1fc145330cfc64d0b8',NULL,0);
INSERT INTO "background_jobs" VALUES(3,'jobs.Example','fail','{"message":"again"}','pending',1,3,36000.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:18:52.033322Z','2026-11-29T03:18:51.942128Z',NULL,'2026-11-29T03:18:51.942128Z','2026-11-29T03:18:52.033322Z',NULL,'18ec65d87e3605fe-dc403a5680aa17a1918c3ecbf19007b0',NULL,'ValueError: again',0,0,1521948,0,'8ef3efaf26f7e798debca113af96fba0',NULL,0);
INSERT INTO "background_jobs" VALUES(4,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:18:53.100224Z',NULL,NULL,'2026-11-29T03:18:53.100400Z','2026-11-29T03:18:53.100400Z',NULL,'18ec65d8c48be650-15a2815d0de50d410ed34536048c5d63',NULL,NULL,0,0,1521968,0,'62cffedf021cbabb0d45b70d12f9c795',NULL,0);
INSERT INTO "background_jobs" VALUES(5,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'held',5,NULL,NULL,NULL,NULL,'2026-11-29T03:18:55.110642Z','2026-11-29T03:18:55.110642Z',NULL,'18ec65d93bfdae2b-f724264be67f873823c98fb3e5e83758',NULL,NULL,0,0,1522064,1,'304217553636e0c08082da0b981cd3fc',NULL,0);
INSERT INTO "background_jobs" VALUES(6,'jobs.Example','work','{}','cancelled',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T12:18:55.785322Z',NULL,'2026-11-29T03:18:56.560872Z','2026-11-29T03:18:55.785521Z','2026-11-29T03:18:56.560872Z','2026-11-29T03:18:56.560872Z','18ec65d9641afdde-13508351ed68b9fe533247a282f6e633',NULL,NULL,0,0,1522124,0,'33497a24f11a91d25c2c82a37a7db4ba',NULL,0);
INSERT INTO "background_jobs" VALUES(7,'jobs.Example','wait','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:18:57.354934Z',NULL,'2026-11-29T03:18:57.354934Z','2026-11-29T03:18:57.354934Z',NULL,'18ec65d9c1b27422-709b1c0777708696963c58c8b25367ca',NULL,NULL,0,0,1522234,1,'1e1e9fa15a2d804f5e60fe7500c31c20',NULL,0);
INSERT INTO "background_jobs" VALUES(8,'jobs.Example','ignore','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:18:57.979918Z',NULL,'2026-11-29T03:18:57.979918Z','2026-11-29T03:18:58.705070Z','2026-11-29T03:18:58.705070Z','18ec65d9e6dea4ac-7114297cea2a3a1c6449997fb670475a',NULL,NULL,0,0,1522261,1,'f2ce645d6dfe6f66c5a8ff6cb5b4b4d6',NULL,0);
CREATE TABLE "job_attempts" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, "token" VARCHAR(255) NOT NULL, "boot_id" VARCHAR(255) NOT NULL, "pid" INTEGER, "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "outcome" VARCHAR(255), "exit_code" INTEGER, "signal" INTEGER, "error_type" TEXT, "error_message" TEXT, "traceback" TEXT, "max_rss" INTEGER, "cpu_user" REAL, "cpu_system" REAL, "output_bytes" INTEGER, "code_version" VARCHAR(255), "progress" TEXT, "noted" INTEGER NOT NULL DEFAULT 0, "spends_retry" INTEGER NOT NULL DEFAULT 1, PRIMARY KEY ("job_id", "number")) WITHOUT ROWID;
INSERT INTO "job_attempts" VALUES(1,1,'a58d503f7cd52b8e','1df388ec-d432-41b4-9c12-5c687383d3a6',1521839,'2026-11-29T03:18:48.568272Z','2026-11-29T03:18:48.590762Z','completed',0,NULL,NULL,NULL,NULL,13549568,4.36099999999999942e-03,0.0,0,'d3907f29b137',NULL,0,1);
INSERT INTO "job_attempts" VALUES(2,1,'a9bb141ac839d638','1df388ec-d432-41b4-9c12-5c687383d3a6',1521857,'2026-11-29T03:18:50.829090Z','2026-11-29T03:18:50.877143Z','failed',1,NULL,'ValueError','no','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: no
',13639680,3.63099999999999967e-03,7.26199999999999935e-03,0,'d3907f29b137',NULL,0,1);
INSERT INTO "job_attempts" VALUES(3,1,'0deb767a5833584a','1df388ec-d432-41b4-9c12-5c687383d3a6',1521938,'2026-11-29T03:18:51.963662Z','2026-11-29T03:18:52.009671Z','failed',1,NULL,'ValueError','again','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: again
',13836288,0.002904,0.008713,0,'d3907f29b137',NULL,0,1);
INSERT INTO "job_attempts" VALUES(7,1,'fc6a74bac54a8e5b','1df388ec-d432-41b4-9c12-5c687383d3a6',1521967,'2026-11-29T03:18:57.386636Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'d3907f29b137',NULL,0,1);
INSERT INTO "job_attempts" VALUES(8,1,'8fbafa3319e6fa90','1df388ec-d432-41b4-9c12-5c687383d3a6',1521838,'2026-11-29T03:18:57.993571Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'d3907f29b137',NULL,0,1);
CREATE TABLE "job_logs" ("id" INTEGER NOT NULL PRIMARY KEY, "job_id" INTEGER NOT NULL, "attempt" INTEGER, "type" VARCHAR(255) NOT NULL, "message" TEXT NOT NULL, "context" TEXT, "created_at" VARCHAR(255) NOT NULL, "folded" TEXT, "attempts_allowed" INTEGER);
INSERT INTO "job_logs" VALUES(1,1,NULL,'success','Background job initiated','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:18:48.520490Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(2,1,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:18:48.520490Z',NULL,4);
INSERT INTO "job_logs" VALUES(3,1,1,'success','Background job started','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:18:48.624974Z',NULL,4);
INSERT INTO "job_logs" VALUES(4,1,1,'success','Background job completed processing',NULL,'2026-11-29T03:18:48.624974Z',NULL,4);
INSERT INTO "job_logs" VALUES(5,2,NULL,'success','Background job initiated','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:18:50.739867Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(6,2,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:18:50.739867Z',NULL,1);
INSERT INTO "job_logs" VALUES(7,2,1,'success','Background job started','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:18:50.989824Z',NULL,1);
INSERT INTO "job_logs" VALUES(8,2,1,'failure','ValueError: no (attempt 1 of 1)',NULL,'2026-11-29T03:18:50.989824Z',NULL,1);
INSERT INTO "job_logs" VALUES(9,3,NULL,'success','Background job initiated','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:18:51.942128Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(10,3,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:18:51.942128Z',NULL,4);
INSERT INTO "job_logs" VALUES(11,3,1,'success','Background job started','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:18:52.033322Z',NULL,4);
INSERT INTO "job_logs" VALUES(12,3,1,'failure','ValueError: again (attempt 1 of 4, next at 13:18:52)',NULL,'2026-11-29T03:18:52.033322Z',NULL,4);
INSERT INTO "job_logs" VALUES(13,3,1,'info','Background job waits for retry 1 of 3 at 13:18:52',NULL,'2026-11-29T03:18:52.033322Z',NULL,4);
INSERT INTO "job_logs" VALUES(14,4,NULL,'success','Background job initiated','{"id":4,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:18:53.100400Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(15,5,NULL,'success','Background job initiated','{"id":5,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"held","priority":5,"parameters":{}}','2026-11-29T03:18:55.110642Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(16,6,NULL,'success','Background job initiated','{"id":6,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:18:55.785521Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(17,6,NULL,'info','Background job cancelled',NULL,'2026-11-29T03:18:56.560872Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(18,7,NULL,'success','Background job initiated','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:18:57.354934Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(19,7,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:18:57.354934Z',NULL,4);
INSERT INTO "job_logs" VALUES(20,7,1,'success','Background job started','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:18:57.442580Z',NULL,4);
INSERT INTO "job_logs" VALUES(21,8,NULL,'success','Background job initiated','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:18:57.979918Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(22,8,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:18:57.979918Z',NULL,4);
INSERT INTO "job_logs" VALUES(23,8,1,'success','Background job started','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:18:58.064438Z',NULL,4);
INSERT INTO "job_logs" VALUES(24,8,1,'info','Background job cancel requested',NULL,'2026-11-29T03:18:58.705070Z',NULL,4);
CREATE TABLE "properties" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "value" TEXT NOT NULL);
INSERT INTO "properties" VALUES('database_id','073d7b77-c86e-413a-819c-504caa96201e');
CREATE TABLE "queues" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "paused_at" VARCHAR(255) NOT NULL);
INSERT INTO "queues" VALUES('held','2026-11-29T03:18:54.165378Z');
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
CREATE INDEX jobs_of_class ON background_jobs (queue, class_name, priority DESC, id) WHERE status = 'pending' AND ready = 1;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('background_jobs',8);
COMMIT;
PRAGMA user_version = 6;
